import { connect } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';

export interface PredecessorOptions {
  /** `--listen-address`; `''` is all. */
  readonly host: string;
  readonly port: number;
  /** Why this agent would answer worse than the one before; none when it would not. */
  readonly reasons: () => readonly unknown[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A server that is away must not keep an agent from listening for longer. */
const LIMIT_MS = 5000;
const PAUSE_MS = 20;

/**
 * Where another agent still listens on the port, waits until this one is ready to answer in its place, five seconds at most:
 * the kernel gives new connections to both as soon as both listen. Otherwise resolves at once: pods wait for somebody to listen.
 */
export async function waitBesidePredecessor(options: PredecessorOptions): Promise<void> {
  const { reasons, clock, signal } = options;
  if (options.port === 0 || !(await isAnswered(options))) return;
  const endMs = clock.monotonic() + LIMIT_MS;
  while (reasons().length > 0 && clock.monotonic() < endMs && !signal.aborted) await sleep(clock, PAUSE_MS, signal);
}

function isAnswered({ host, port, clock }: PredecessorOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: host === '' ? '127.0.0.1' : host, port });
    const finish = (answered: boolean): void => {
      cancelTimer();
      socket.destroy();
      resolve(answered);
    };
    const cancelTimer = clock.after(100, () => finish(false));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
