import type { EventEmitter } from 'node:events';

import { failed, type Outcome } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { within } from '#runtime/within.ts';
import type { Logger } from '#telemetry/logger.ts';

export interface FromSourceOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long the source may wait, in milliseconds. */
  readonly waitMs: number;
  /** The response that the client waits for; left out where the call continues although the client disconnects. */
  readonly response?: Pick<EventEmitter, 'once' | 'off'>;
}

/** How long a source may take to return what it found out, after its signal. The answer must still reach an SDK within 1 s. */
const GRACE_MS = 30;

/**
 * Reads from a credential source with a signal that aborts when the time is up or the client has gone. Settles in any case, soon
 * after the signal, whatever the source does; a source that rejects, against its contract, is an internal failure.
 */
export async function fromSource<T>(
  { clock, logger, waitMs, response }: FromSourceOptions,
  read: (signal: AbortSignal) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response?.once('close', leave);
  const bounds = { clock, limitMs: waitMs, graceMs: GRACE_MS, signal: gone.signal };
  try {
    return await within(bounds, read, () => failed('timed-out', 'no answer in time'));
  } catch (error) {
    logger.error('the credential source failed', { error: describeError(error) });
    return failed('internal', 'internal error');
  } finally {
    response?.off('close', leave);
  }
}
