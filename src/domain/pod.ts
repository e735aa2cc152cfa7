/** The annotations that a pod carries (https://github.com/uswitch/kiam, `pkg/k8s/annotations.go`). */
export const ROLE_ANNOTATION = 'iam.amazonaws.com/role';
export const SESSION_NAME_ANNOTATION = 'iam.amazonaws.com/session-name';
export const EXTERNAL_ID_ANNOTATION = 'iam.amazonaws.com/external-id';

/** What is kept of a pod: the fields that a decision, a log line or an Event needs, and no more. */
export interface PodRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Every address of `status.podIPs` in canonical form; empty until the pod has one. */
  readonly addresses: readonly string[];
  /** `status.hostIP`: the address of the node it runs on, `''` until it is scheduled. */
  readonly hostIp: string;
  readonly phase: string;
  readonly hostNetwork: boolean;
  /** True once `metadata.deletionTimestamp` is set. */
  readonly terminating: boolean;
  readonly resourceVersion: string;
  /** The role exactly as annotated; `''` when there is none. */
  readonly role: string;
  /** As annotated; `''` when there is none. */
  readonly sessionName: string;
  /** As annotated; `''` when there is none. */
  readonly externalId: string;
}

/**
 * Whether an address in its status may be taken for this pod: it has not ended, and the address is its own.
 * A pod with hostNetwork shows the node's address, which is every other such pod's as well.
 */
export function ownsItsAddress(pod: PodRecord): boolean {
  return pod.phase !== 'Succeeded' && pod.phase !== 'Failed' && !pod.hostNetwork;
}
