import type { Failure, Outcome } from '#domain/failure.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

import { isOutOfReach, isWorthAnotherAttempt, moreTelling, NO_TIME } from './passing-failures.ts';

export interface RetryOptions {
  readonly clock: Clock;
  /** In monotonic milliseconds. */
  readonly deadlineMs: number;
  /** How long servers that are out of reach are tried, in milliseconds from when that is known; to the end unless told. */
  readonly giveUpAfterMs?: number | undefined;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/** Kiam's server answers at once that it knows no pod: it is called again this often, where ours waits by itself. */
const PAUSE = { firstMs: 10, capMs: 200 };

const NEVER = new AbortController().signal;

/** Repeats `attempt` until there is an answer that another would not change, or the time is up: it then says undefined. */
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
    // A server that went away with the question says nothing of the others: they are tried for as long as ever.
    lostMs ??= outcome.failure.kind === 'server-unavailable' ? clock.monotonic() : startedMs;
    const isGivenUp = isOutOfReach(failure) && clock.monotonic() - lostMs >= (giveUpAfterMs ?? Infinity);
    if (isGivenUp || !isWorthAnotherAttempt(failure)) return { ok: false, failure };
    await sleep(clock, Math.min(backoff.nextMs(), deadlineMs - clock.monotonic()), NEVER);
  }
}
