import type { Failure, Outcome } from '#domain/failure.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

import { isOutOfReach, isWorthAnotherAttempt, moreTelling, NO_TIME } from './passing-failures.ts';

export interface RetryOptions {
  readonly clock: Clock;
  /** In monotonic milliseconds. */
  readonly deadlineMs: number;
  /** When to stop trying servers that are out of reach, in milliseconds from now. */
  readonly giveUpAfterMs: number;
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
  const giveUpMs = clock.monotonic() + giveUpAfterMs;
  const backoff = createBackoff({ ...PAUSE, random });
  let failure: Failure | undefined;
  for (;;) {
    const outcome = await attempt();
    if (outcome === undefined) return { ok: false, failure: failure ?? NO_TIME };
    if (outcome.ok) return outcome;
    failure = moreTelling(failure, outcome.failure);
    const isGivenUp = isOutOfReach(failure) && clock.monotonic() >= giveUpMs;
    if (isGivenUp || !isWorthAnotherAttempt(failure)) return { ok: false, failure };
    await sleep(clock, Math.min(backoff.nextMs(), deadlineMs - clock.monotonic()), NEVER);
  }
}
