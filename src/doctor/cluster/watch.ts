import type { Binding } from '#domain/service-account.ts';
import type { KubernetesConnection } from '#kubernetes/connection.ts';
import { apiFailureOf } from '#kubernetes/list.ts';
import { field, parseJson, textField } from '#kubernetes/json-fields.ts';
import type { Clock } from '#runtime/clock.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';

import { askHttp } from '../ask-http.ts';
import { type ClockReading, readClock } from '../clock.ts';
import { localEnd } from '../daemon.ts';
import { type Observation, cannotTell, ok, wrong } from '../finding.ts';

export interface WatchReport {
  readonly observations: readonly Observation[];
  readonly clock: ClockReading | undefined;
}

/** The server asks for longer ones; whether a watch works shows after the first second as well. */
const WATCH_SECONDS = '1';
const LIMITS = { headersWithinMs: 5000, silenceLimitMs: 5000 } as const;

export type WatchedResource = 'pods' | 'namespaces' | 'serviceaccounts';

/** What a server with this `--binding` watches. */
export function watchedResources(binding: Binding): readonly WatchedResource[] {
  return ['pods', 'namespaces', ...(binding === 'pod' ? [] : (['serviceaccounts'] as const))];
}

/** Opens a watch at the API server as the server does, and reads it to its end. Rejects when there is no connection. */
export async function checkWatch(
  connection: KubernetesConnection,
  resource: WatchedResource,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<WatchReport> {
  const path = `/api/v1/${resource}`;
  const request = { method: 'GET', path, signal, ...LIMITS } as const;
  const list = await connection.request({ ...request, query: { limit: '1' } });
  if (list.status !== 200) return { observations: [await refused(`list ${resource}`, list)], clock: undefined };
  const reading = readClock('the API server', list.date, clock.now());
  const resourceVersion = textField(field(parseJson(await list.text(LONGEST_ANSWER)), 'metadata'), 'resourceVersion');
  const query = { watch: '1', resourceVersion, allowWatchBookmarks: 'true', timeoutSeconds: WATCH_SECONDS };
  const watch = await connection.request({ ...request, query });
  if (watch.status !== 200) return { observations: [await refused(`watch ${resource}`, watch)], clock: reading };
  await watch.text(LONGEST_ANSWER);
  return { observations: [ok(`${connection.server} lists and watches ${resource}`)], clock: reading };
}

const LONGEST_ANSWER = 16 * 1024 * 1024;

async function refused(what: string, response: Parameters<typeof apiFailureOf>[0]): Promise<Observation> {
  const { status, message } = await apiFailureOf(response);
  return wrong(`the API server does not let us ${what}: ${status} ${message}`, 'apply deploy/server-rbac.yaml');
}

export interface FreshnessOptions {
  /** `--prometheus-listen-addr` of the server. */
  readonly address: ListenAddress | undefined;
  /** `--max-view-age`, in milliseconds. */
  readonly maxViewAgeMs: number;
  readonly resources: readonly WatchedResource[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** How old the view of the server that runs here is, by its own metrics. Never rejects. */
export async function checkFreshness({
  address,
  maxViewAgeMs,
  resources,
  clock,
  signal,
}: FreshnessOptions): Promise<Observation[]> {
  if (address === undefined) return [cannotTell('the server shows no metrics', 'give it --prometheus-listen-addr')];
  const answer = await askHttp({ ...localEnd(address), path: '/metrics', clock, signal });
  if (!answer.ok)
    return [cannotTell(`no server shows metrics here: ${answer.reason}`, 'run this in its own container')];
  const ages = resources.map((resource) => ({
    resource,
    seconds: gauge(answer.body, `kiam_k8s_watch_silence_seconds{resource="${resource}"}`),
  }));
  return ages.map(({ resource, seconds }) => {
    if (seconds === undefined) return cannotTell(`its metrics do not name ${resource}`, 'is it a server of this Kiam?');
    if (seconds * 1000 <= maxViewAgeMs) return ok(`the server heard of ${resource} ${seconds.toFixed(0)} s ago`);
    const fix = 'its log says `the Kubernetes API …`; the other lines here say whether it can be watched at all';
    return wrong(`the server has heard nothing of ${resource} for ${seconds.toFixed(0)} s: new pods are refused`, fix);
  });
}

/** A sample in the text form of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). */
function gauge(metrics: string, sample: string): number | undefined {
  const line = metrics.split('\n').find((text) => text.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1).replace('+Inf', 'Infinity'));
}
