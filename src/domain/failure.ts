/** Why a pod gets no answer. The server determines the kind, the contract carries it, and the agent's answer depends on it. */
export type FailureKind =
  /** No live pod has the address (yet). */
  | 'pod-not-found'
  /** Two live pods claim the address. */
  | 'multiple-pods'
  /** The server does not know the cluster's present state. */
  | 'view-stale'
  /** The pod is annotated with no role. */
  | 'role-empty'
  /** Policy refuses. */
  | 'forbidden'
  /** STS refuses the role for good: trust policy, a role that does not exist, a request it calls malformed. */
  | 'sts-refused'
  /** STS asks for fewer calls from the account: asking another server would make one more. */
  | 'sts-throttled'
  /** STS fails or cannot be reached, or the server's own credentials do not work: another server may succeed. */
  | 'sts-unavailable'
  /** No server could be reached. */
  | 'server-unavailable'
  /** The time was up before there was an answer. */
  | 'timed-out'
  /** A defect, or an answer that makes no sense. */
  | 'internal';

export interface Failure {
  readonly kind: FailureKind;
  /** For people: one line, free of secrets and of the server's own role. */
  readonly message: string;
  /**
   * For how long the same question gets the same answer unless something changes, in milliseconds, where that is known: an
   * agent that receives changes may repeat the answer that long.
   */
  readonly standsForMs?: number;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export function succeeded<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function failed(kind: FailureKind, message: string): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure: { kind, message } };
}

/** A refusal that stands for `standsForMs` milliseconds unless something changes that it depends on. */
export function refused(
  kind: 'forbidden' | 'role-empty',
  message: string,
  standsForMs: number,
): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure: { kind, message, standsForMs } };
}
