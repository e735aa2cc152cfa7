import { createBackoff } from '#runtime/backoff.ts';
import type { Clock } from '#runtime/clock.ts';

/** Whether another program keeps putting its own rule in place of ours. */
export interface TakeoverBackoff {
  /** False while the other program's rule is left in place. */
  mayReplace(): boolean;
  /**
   * Records that a rule of another program was replaced. True when that has now happened too often: from now on ours yields.
   */
  replaced(): boolean;
}

const WINDOW_MS = 60_000;
const LIMIT = 3;

/**
 * Two agents with different addresses on one node would replace each other's rule for ever. Whoever has done so three
 * times in a minute leaves the other's in place for a while, each time longer and with jitter, at most two minutes: the
 * rule then changes hands rarely, and pods are served by either. An upgrade replaces once and meets none of this.
 */
export function createTakeoverBackoff(clock: Clock, random?: () => number): TakeoverBackoff {
  const backoff = createBackoff({ firstMs: 20_000, capMs: 120_000, ...(random === undefined ? {} : { random }) });
  let replacements: number[] = [];
  let yieldUntilMs = 0;
  let lastYieldMs = 0;
  return {
    mayReplace: () => clock.monotonic() >= yieldUntilMs,
    replaced: () => {
      const nowMs = clock.monotonic();
      replacements = [...replacements.filter((atMs) => nowMs - atMs < WINDOW_MS), nowMs];
      if (nowMs - lastYieldMs > 5 * WINDOW_MS) backoff.reset();
      // After the first turn of yielding, one more replacement is enough to yield again.
      const isFresh = yieldUntilMs === 0 || nowMs - yieldUntilMs > WINDOW_MS;
      if (replacements.length < LIMIT && isFresh) return false;
      lastYieldMs = nowMs;
      yieldUntilMs = nowMs + backoff.nextMs();
      return true;
    },
  };
}
