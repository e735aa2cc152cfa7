import type { EventEmitter } from 'node:events';

import { failed, type Outcome } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

export interface AskWithinOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long the source may wait, in milliseconds. */
  readonly waitMs: number;
  /** The answer that the client waits for; left out where the call continues although a client leaves. */
  readonly response?: Pick<EventEmitter, 'once' | 'off'>;
}

/** How long after its signal a source may take to say what it found out. The answer must still reach an SDK within 1 s. */
const GRACE_MS = 30;

/**
 * Asks a source with a signal that aborts when the time is up or the client has gone. Settles in any case, soon after the
 * signal, whatever the source does; a source that rejects, against its contract, is an internal failure.
 */
export function askWithin<T>(
  { clock, logger, waitMs, response }: AskWithinOptions,
  ask: (signal: AbortSignal) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  return new Promise((resolve) => {
    const controller = new AbortController();
    let cancel = (): void => {};
    const stop = (): void => {
      cancel();
      cancel = clock.after(GRACE_MS, () => settle(failed('timed-out', 'no answer in time')));
      controller.abort();
    };
    const settle = (outcome: Outcome<T>): void => {
      cancel();
      response?.off('close', stop);
      resolve(outcome);
    };
    cancel = clock.after(waitMs, stop);
    response?.once('close', stop);
    start(ask, controller.signal).then(settle, (error: unknown) => {
      logger.error('the credential source failed', { error: error instanceof Error ? error : String(error) });
      settle(failed('internal', 'internal error'));
    });
  });
}

/** Turns an exception at once into a rejection. */
async function start<T>(ask: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  return ask(signal);
}
