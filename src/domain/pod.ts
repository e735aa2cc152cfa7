import type { SessionTag } from './attribution.ts';

/** The annotations that a pod carries (https://github.com/uswitch/kiam, `pkg/k8s/annotations.go`). */
export const ROLE_ANNOTATION = 'iam.amazonaws.com/role';
export const SESSION_NAME_ANNOTATION = 'iam.amazonaws.com/session-name';
export const EXTERNAL_ID_ANNOTATION = 'iam.amazonaws.com/external-id';

/**
 * Marks the copy that a kubelet makes in the API of a pod that it runs from a file
 * (https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/). No update may add, change or remove it.
 */
export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** What is kept of a pod: the fields that a decision, a log line or an Event needs, and no more. */
export interface PodRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Every address of `status.podIPs` in canonical form; empty until the pod has one. */
  readonly addresses: readonly string[];
  /** `spec.nodeName`: the node it runs on, `''` until it is scheduled. */
  readonly nodeName: string;
  /** The addresses of that node in canonical form, as its kubelet wrote them: `status.hostIPs` and `status.hostIP`. */
  readonly hostIps: readonly string[];
  readonly phase: string;
  readonly hostNetwork: boolean;
  /** True for a mirror pod: its node's kubelet chose its namespace, its annotations and everything else of it. */
  readonly mirror: boolean;
  /** True once `metadata.deletionTimestamp` is set. */
  readonly terminating: boolean;
  readonly resourceVersion: string;
  /** `spec.serviceAccountName`. */
  readonly serviceAccount: string;
  /** Of the ServiceAccount that has this name now; `''` where none is known, as with `--binding=pod`. */
  readonly serviceAccountUid: string;
  /** The role exactly as annotated on whatever gives it to the pod; `''` when there is none. See `domain/service-account.ts`. */
  readonly role: string;
  /** What gives it: the pod itself, or its ServiceAccount. */
  readonly roleSource: 'pod' | 'service-account';
  /** As annotated, where the pod's annotations count; `''` when there is none. */
  readonly sessionName: string;
  /** As annotated, where the pod's annotations count; `''` when there is none. */
  readonly externalId: string;
  /**
   * The session tags of its annotations and its ServiceAccount's that count, by key; undefined until its ServiceAccount is
   * known.
   */
  readonly sessionTags: readonly SessionTag[] | undefined;
  /** What the pod itself is annotated with, whether it counts or not. */
  readonly annotated: PodAnnotations;
  readonly asksBy: AskingWay;
}

/** Where the SDKs of a pod ask for credentials, as its containers' environments say: the first of these that a container has. */
export type AskingWay = 'web identity' | 'container credentials' | 'another endpoint' | 'instance metadata';

/** As annotated on the pod; `''` for what is not. */
export interface PodAnnotations {
  readonly role: string;
  readonly sessionName: string;
  readonly externalId: string;
  /** Those that `--allowed-session-tags` lists, by key. */
  readonly sessionTags: readonly SessionTag[];
  /** The key of one that is not listed, and so does not count. */
  readonly ignoredTag: string;
}

/**
 * Whether the pod is found by the addresses in its status: it has not ended, and they are its own. A pod with hostNetwork shows
 * the node's address, which is every other such pod's as well. A mirror pod may show any address and any role: whoever has a
 * kubelet's credentials can make one.
 */
export function ownsItsAddress(pod: PodRecord): boolean {
  return pod.phase !== 'Succeeded' && pod.phase !== 'Failed' && !pod.hostNetwork && !pod.mirror;
}

/**
 * Whether requests of this pod are recognised by its token alone: it has not ended, and shares the network of its node. A
 * mirror pod has no ServiceAccount, and so no token (https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/).
 */
export function asksByToken(pod: PodRecord): boolean {
  return pod.phase !== 'Succeeded' && pod.phase !== 'Failed' && pod.hostNetwork && !pod.mirror;
}

/** The owner of an address. */
export type PodLookup =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  | { readonly kind: 'none' }
  | { readonly kind: 'ambiguous'; readonly pods: readonly PodRecord[] };

/** What the API server itself says of a pod at this moment. */
export type PodReading =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  /** No pod has this name. */
  | { readonly kind: 'gone' }
  /** It could not be asked, or its answer makes no sense. */
  | { readonly kind: 'unknown'; readonly reason: string };
