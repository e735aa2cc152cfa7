import type { Server as HttpServer } from 'node:http';
import { Server } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';

/** Longer than an SDK takes from one request of a connection to the next: token, role, credentials. */
const IDLE_MS = 500;
const PAUSE_MS = 50;

/**
 * Stops listening and lets what is open end: requests are answered, and a client may send its next one on its connection for
 * another half second, as SDKs do that keep them. Resolves when no connection is left.
 */
export async function drain(server: HttpServer, clock: Clock): Promise<void> {
  const ended = new AbortController();
  // What the kernel has accepted already, the loop accepts in this turn; closing resets what is left in the queue.
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  // The close of an HTTP server would also cut connections between two requests.
  Server.prototype.close.call(server, () => ended.abort());
  const endMs = clock.monotonic() + IDLE_MS;
  while (!ended.signal.aborted) {
    await sleep(clock, PAUSE_MS, ended.signal);
    if (clock.monotonic() >= endMs) server.closeIdleConnections();
  }
}
