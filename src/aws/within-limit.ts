import type { Clock } from '#runtime/clock.ts';

export interface LimitedTask<T> {
  readonly clock: Clock;
  /** In milliseconds. */
  readonly limitMs: number;
  /** Ends the task early, as the limit does. */
  readonly signal: AbortSignal;
  readonly task: (signal: AbortSignal) => Promise<T>;
  readonly onLimit: () => T;
  readonly onError: (error: unknown) => T;
}

/**
 * Runs a task for so long at most, and answers then even when the task does not heed its signal. Never rejects: what the task
 * throws goes through `onError`.
 */
export function withinLimit<T>({ clock, limitMs, signal, task, onLimit, onError }: LimitedTask<T>): Promise<T> {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const finish = (result: T): void => {
      cancelTimer();
      signal.removeEventListener('abort', expire);
      resolve(result);
    };
    const expire = (): void => {
      // The answer is settled before the task hears of it: what it throws for being aborted is no news.
      finish(onLimit());
      controller.abort();
    };
    const cancelTimer = clock.after(limitMs, expire);
    signal.addEventListener('abort', expire, { once: true });
    if (signal.aborted) {
      expire();
      return;
    }
    (async () => task(controller.signal))().then(finish, (error: unknown) => finish(onError(error)));
  });
}
