import type { PodRecord } from '#domain/pod.ts';

/** One thing that happened to a pod, and how often. */
export interface Occurrence {
  pod: PodRecord;
  readonly reason: string;
  readonly message: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
  /** The Event's name, once the API server has taken it. */
  eventName: string | undefined;
}

/** Names are DNS subdomains: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
const LONGEST_NAME = 253;

/** `<pod>.<time in hexadecimal nanoseconds>`, as client-go names Events. `serial` tells apart what happens in one millisecond. */
export function eventNameOf(podName: string, epochMs: number, serial: number): string {
  const suffix = `.${(BigInt(Math.trunc(epochMs)) * 1_000_000n + BigInt(serial % 1_000_000)).toString(16)}`;
  return podName.slice(0, LONGEST_NAME - suffix.length) + suffix;
}

/**
 * The body of a new Event, in the form that Kiam's have
 * (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
 */
export function newEventBody(occurrence: Occurrence, name: string): string {
  const { pod, reason, message, count, firstMs, lastMs } = occurrence;
  return JSON.stringify({
    kind: 'Event',
    apiVersion: 'v1',
    metadata: { name, namespace: pod.namespace },
    involvedObject: {
      kind: 'Pod',
      apiVersion: 'v1',
      namespace: pod.namespace,
      name: pod.name,
      uid: pod.uid,
      resourceVersion: pod.resourceVersion,
    },
    reason,
    message,
    source: { component: 'kiam.server' },
    firstTimestamp: timestamp(firstMs),
    lastTimestamp: timestamp(lastMs),
    count,
    type: 'Warning',
    eventTime: null,
    reportingComponent: '',
    reportingInstance: '',
  });
}

/** The strategic merge patch that makes an Event say that it happened again. */
export function repeatedEventPatch({ count, lastMs, message }: Occurrence): string {
  return JSON.stringify({ count, lastTimestamp: timestamp(lastMs), message });
}

function timestamp(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
}
