import type { Server as HttpServer } from 'node:http';
import { Server } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';

import type { Daemon } from './daemon.ts';

/** Longer than an SDK takes from one request of a connection to the next: token, role, credentials. */
const IDLE_MS = 500;
const PAUSE_MS = 50;
/** So that clients which never stop coming do not keep it listening. */
const MOST_TURNS = 1000;

/** docs/specification.md, 12: what is in progress may take this long to finish. */
const DRAIN_LIMIT_MS = 5000;

/** The daemon ends when the requests to this app are answered. */
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
 * Stops listening and lets what is open end: requests are answered, and a client may send its next one on its connection for
 * another half second, as SDKs do that keep them. Resolves when no connection is left.
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
 * The kernel resets the connections that it holds for a server which closes, and Node accepts one in a turn of its loop. The
 * first turn may be one that has looked for connections already.
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
