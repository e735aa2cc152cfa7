import type { Server as HttpServer } from 'node:http';
import { Server } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';

import type { Daemon } from './daemon.ts';

/** Longer than an SDK takes from one request of a connection to the next: token, role, credentials. */
const IDLE_MS = 500;
const PAUSE_MS = 50;
/** An upper bound: clients that keep connecting must not keep the server listening. */
const MOST_TURNS = 1000;

/** docs/specification.md, 12: how long requests in progress may take to finish. */
const DRAIN_LIMIT_MS = 5000;

/** Registers the app with the shutdown: the daemon ends once requests in progress are answered. */
export function endDrained(
  name: string,
  app: { readonly server: HttpServer; close(): PromiseLike<unknown> },
  { clock, shutdown }: Daemon,
): void {
  shutdown.add({
    name,
    limitMs: DRAIN_LIMIT_MS,
    close: async () => {
      await drain(app.server, clock);
      await app.close();
    },
  });
}

/**
 * Stops listening and lets open connections end: requests in progress are answered, and an SDK that keeps its connection may
 * send another request on it for half a second. Resolves when no connection is left.
 */
export async function drain(server: HttpServer, clock: Clock): Promise<void> {
  const ended = new AbortController();
  await emptyQueue(server);
  // The close of an HTTP server would also cut connections between two requests.
  Server.prototype.close.call(server, () => ended.abort());
  const endMs = clock.monotonic() + IDLE_MS;
  while (!ended.signal.aborted) {
    await sleep(clock, PAUSE_MS, ended.signal);
    if (clock.monotonic() >= endMs) server.closeIdleConnections();
  }
}

/**
 * Accepts what is in the listen queue: the kernel resets connections that are still queued when a listener closes, and Node
 * accepts one in each turn of its loop. Two quiet turns are needed, because the first may have looked before this was called.
 */
async function emptyQueue(server: HttpServer): Promise<void> {
  let quietTurns = 0;
  const onConnection = (): void => {
    quietTurns = 0;
  };
  server.on('connection', onConnection);
  for (let turn = 0; quietTurns < 2 && turn < MOST_TURNS; turn += 1) {
    quietTurns += 1;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  server.off('connection', onConnection);
}
