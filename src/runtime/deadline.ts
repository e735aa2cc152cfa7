import type { Clock } from './clock.ts';

/** A signal that aborts after a time, or with its parent; at once where there is no time left. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Ends the timer, once what it bounds is done. */
  clear(): void;
}

export function startDeadline(clock: Clock, delayMs: number, parent: AbortSignal): Deadline {
  const controller = new AbortController();
  const expire = (): void => {
    clear();
    controller.abort();
  };
  const cancel = clock.after(delayMs, expire);
  const clear = (): void => {
    cancel();
    parent.removeEventListener('abort', expire);
  };
  if (parent.aborted || delayMs <= 0) expire();
  else parent.addEventListener('abort', expire, { once: true });
  return { signal: controller.signal, clear };
}

export function untilAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
