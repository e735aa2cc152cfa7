import { asError } from './errors.ts';

import type { Clock } from './clock.ts';

/** A signal that aborts after a time, or with its parent; at once where there is no time left. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Ends the timer, once what it bounds is done. */
  clear(): void;
}

export interface Bounds {
  readonly clock: Clock;
  /** How long the task may take, in milliseconds. */
  readonly limitMs: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
  /** How long the task may take to settle after its signal, in milliseconds; none unless told. */
  readonly graceMs?: number;
}

const NEVER = new AbortController().signal;

/** For work that ends by itself once its signal aborts; {@link within} is for all other. */
export function startDeadline(clock: Clock, delayMs: number, parent: AbortSignal = NEVER): Deadline {
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

/**
 * Runs a task with a time limit. Settles in any case, even when the task ignores its signal: with the task's result or
 * rejection, or with the result of `onCut` when the time is up or the signal aborts. It settles before the task's signal
 * aborts, so an abort error of the task is never seen. With an aborted signal the task is not started.
 */
export function within<T, C = T>(
  { clock, limitMs, signal = NEVER, graceMs = 0 }: Bounds,
  task: (signal: AbortSignal) => Promise<T> | T,
  onCut: () => C,
): Promise<T | C> {
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const settle = (finish: () => void): void => {
      cancelTimer();
      signal.removeEventListener('abort', cut);
      finish();
    };
    const cut = (): void => {
      cancelTimer();
      const giveUp = (): void => settle(() => resolve(onCut()));
      if (graceMs > 0) cancelTimer = clock.after(graceMs, giveUp);
      else giveUp();
      controller.abort();
    };
    let cancelTimer = (): void => {};
    if (signal.aborted) {
      resolve(onCut());
      return;
    }
    cancelTimer = clock.after(limitMs, cut);
    signal.addEventListener('abort', cut, { once: true });
    start(task, controller.signal).then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(asError(error))),
    );
  });
}

/** Turns an exception at once into a rejection. */
async function start<T>(task: (signal: AbortSignal) => Promise<T> | T, signal: AbortSignal): Promise<T> {
  return task(signal);
}

/**
 * The result of the work, or what `onAbort` returns or throws when the signal aborts first; the work then continues without a
 * listener.
 */
export function unlessAborted<T, C = T>(work: Promise<T>, signal: AbortSignal, onAbort: () => C): Promise<T | C> {
  let leave = (): void => {};
  const aborted = new Promise<C>((resolve, reject) => {
    leave = () => {
      try {
        resolve(onAbort());
      } catch (error) {
        reject(asError(error));
      }
    };
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
  });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', leave));
}
