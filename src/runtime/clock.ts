/** The time. Every timer goes through a clock, so that tests can drive hours in milliseconds. */
export interface Clock {
  /** Wall-clock time in milliseconds since the Unix epoch. It may jump either way. */
  now(): number;
  /** Monotonic milliseconds, for measuring and for deadlines. */
  monotonic(): number;
  /** Calls `task` once after `delayMs`; the returned function cancels it. Timers never keep the process alive. */
  after(delayMs: number, task: () => void): () => void;
}

/** setTimeout fires at once for anything longer than this (a 32-bit count of milliseconds, 24.8 days). */
const LONGEST_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, task) => {
    const timer = setTimeout(task, Math.min(Math.max(delayMs, 0), LONGEST_TIMER_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or earlier when `signal` aborts: callers look at the signal, nothing is thrown. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const finish = (): void => {
      cancel();
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = clock.after(delayMs, finish);
    signal.addEventListener('abort', finish, { once: true });
  });
}
