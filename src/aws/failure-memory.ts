import type { StsFailure } from './sts.ts';
import { isTransient } from './sts.ts';

/** A failure that stands for an identity until it may be asked for again. */
export interface RememberedFailure {
  readonly outcome: StsFailure;
  /** When it happened, by the monotonic clock, in milliseconds. */
  readonly atMs: number;
  /** By the monotonic clock, in milliseconds. */
  readonly retryAtMs: number;
  /** How many there were in a row. */
  readonly count: number;
  /** The limiter's episode in which it happened: a transient failure is forgotten when its episode ends. */
  readonly episode: number;
}

/** How long a refusal stands: nothing but a change of AWS's or the cluster's configuration cures it. */
const REFUSED = { firstMs: 2000, capMs: 60_000 } as const;

/** How long trouble that may pass stands for one identity; the limiter's back-off protects the account. */
const TRANSIENT = { firstMs: 1000, capMs: 30_000 } as const;

/** Adds a failure to those before it: the wait doubles up to its bound, and jitter spreads those that failed together. */
export function rememberFailure(
  previous: RememberedFailure | undefined,
  outcome: StsFailure,
  { nowMs, episode, random }: { readonly nowMs: number; readonly episode: number; readonly random: () => number },
): RememberedFailure {
  const count = (previous?.count ?? 0) + 1;
  const { firstMs, capMs } = isTransient(outcome.category) ? TRANSIENT : REFUSED;
  const boundMs = Math.min(capMs, firstMs * 2 ** Math.min(count - 1, 16));
  return { outcome, atMs: nowMs, count, episode, retryAtMs: nowMs + boundMs * (1 - random() / 2) };
}

/** Whether the failure still stands. */
export function stands(failure: RememberedFailure, nowMs: number, episode: number): boolean {
  if (isTransient(failure.outcome.category) && failure.episode !== episode) return false;
  return nowMs < failure.retryAtMs;
}

/**
 * The failure for callers in the meantime: a refusal says how much longer it stands; a failure that may pass at any moment does
 * not.
 */
export function standing({ outcome, retryAtMs }: RememberedFailure, nowMs: number): StsFailure {
  if (outcome.failure.kind !== 'sts-refused') return outcome;
  return { ...outcome, failure: { ...outcome.failure, standsForMs: retryAtMs - nowMs } };
}
