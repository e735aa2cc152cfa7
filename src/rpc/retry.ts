import type { Failure, Outcome } from '#domain/failure.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

import { isOutOfReach, isWorthAnotherAttempt, moreTelling, NO_TIME } from './passing-failures.ts';

export interface RetryOptions {
  readonly clock: Clock;
  /** In monotonic milliseconds. */
  readonly deadlineMs: number;
  /**
   * For how long servers that cannot be reached are retried, in milliseconds from the first failure. Default: until the
   * deadline.
   */
  readonly giveUpAfterMs?: number | undefined;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/** Kiam's server answers at once that it does not know a pod, and is called again this often. Ours holds the call instead. */
const PAUSE = { firstMs: 10, capMs: 200 };

const NEVER = new AbortController().signal;

/**
 * Repeats `attempt` until its answer is one that another attempt would not change, or until it returns undefined because the
 * time is up.
 */
export async function retry<T>(
  { clock, deadlineMs, giveUpAfterMs, random }: RetryOptions,
  attempt: () => Promise<Outcome<T> | undefined>,
): Promise<Outcome<T>> {
  const backoff = createBackoff({ ...PAUSE, random });
  let failure: Failure | undefined;
  let lostMs: number | undefined;
  /** Time ran out before it was known whether other servers are there. */
  const isUnsure = (): boolean =>
    failure !== undefined &&
    isOutOfReach(failure) &&
    lostMs !== undefined &&
    clock.monotonic() - lostMs < (giveUpAfterMs ?? 0);
  for (;;) {
    const startedMs = clock.monotonic();
    const outcome = await attempt();
    if (outcome === undefined) return { ok: false, failure: failure === undefined || isUnsure() ? NO_TIME : failure };
    if (outcome.ok) return outcome;
    failure = moreTelling(failure, outcome.failure);
    // A server that was lost during the call says nothing about the others: their time starts now.
    lostMs ??= outcome.failure.kind === 'server-unavailable' ? clock.monotonic() : startedMs;
    const isGivenUp = isOutOfReach(failure) && clock.monotonic() - lostMs >= (giveUpAfterMs ?? Infinity);
    if (isGivenUp || !isWorthAnotherAttempt(failure)) return { ok: false, failure };
    await sleep(clock, Math.min(backoff.nextMs(), deadlineMs - clock.monotonic()), NEVER);
  }
}
