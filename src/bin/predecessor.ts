import { connect } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

export interface PredecessorOptions {
  /** `--listen-address`; `''` is all. */
  readonly host: string;
  readonly port: number;
  /** Why this agent would answer worse than the one before; none when it would not. */
  readonly reasons: () => readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const PAUSE_MS = 20;
const CHECK_MS = 500;

/**
 * Where another agent listens on the port, waits until this one is ready to answer in its place, or until it is gone: the
 * kernel gives new connections to both as soon as both listen. Otherwise resolves at once: pods wait for somebody to listen.
 */
export async function waitBesidePredecessor(options: PredecessorOptions): Promise<void> {
  const { reasons, clock, logger, signal, port } = options;
  if (port === 0 || !(await isTaken(options))) return;
  if (reasons().length > 0) {
    logger.info('another agent listens here; this one takes over when it is ready', {
      port,
      reasons: reasons().join('; '),
    });
  }
  let checkedMs = clock.monotonic();
  while (reasons().length > 0 && !signal.aborted) {
    await sleep(clock, PAUSE_MS, signal);
    if (clock.monotonic() - checkedMs < CHECK_MS) continue;
    if (!(await isTaken(options))) return;
    checkedMs = clock.monotonic();
  }
}

/**
 * Only a refused connection proves that nobody listens. A connection that times out proves nothing: either process may be busy.
 */
function isTaken({ host, port, clock }: PredecessorOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: host === '' ? '127.0.0.1' : host, port });
    const finish = (taken: boolean): void => {
      cancelTimer();
      socket.destroy();
      resolve(taken);
    };
    const cancelTimer = clock.after(100, () => finish(true));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
