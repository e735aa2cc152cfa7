import assert from 'node:assert/strict';
import { it } from 'node:test';

import { HandshakeTurns } from '#rpc/handshake-turns.ts';

import { ManualClock } from '../support/manual-clock.ts';

/** CPU of a server for one handshake; it has one thread (docs/scaling.md). */
const HANDSHAKE_CPU_MS = 5;
const ROUND_TRIP_MS = 2;

/** How a channel of the agent tries again: `src/rpc/client.ts`, and the factor and jitter of gRPC's connection back-off. */
const BACKOFF = { firstMs: 200, capMs: 5000, factor: 1.6, jitter: 0.2 };

interface Connection {
  readonly agent: number;
  isRefused: boolean;
}

/** All agents of a cluster find one server at the same moment: how long until the last has its connection. */
async function reconnect(agents: number, stalling: number) {
  const clock = new ManualClock();
  let seed = 7;
  const random = (): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const tries: number[] = Array.from({ length: agents }, () => 0);
  let freeAtMs = 0;
  let mostWaiting = 0;
  let lastMs = 0;
  let back = 0;
  const turns: HandshakeTurns<Connection> = new HandshakeTurns({
    clock,
    begin: (connection) => {
      if (connection.agent < 0) return;
      freeAtMs = Math.max(freeAtMs, clock.monotonic()) + HANDSHAKE_CPU_MS;
      clock.after(freeAtMs + ROUND_TRIP_MS - clock.monotonic(), () => {
        if (connection.isRefused) return;
        back += 1;
        lastMs = clock.monotonic();
        turns.ended(connection);
      });
    },
    refuse: (connection) => {
      connection.isRefused = true;
      if (connection.agent < 0) return;
      const { firstMs, capMs, factor, jitter } = BACKOFF;
      const times = tries[connection.agent] ?? 0;
      tries[connection.agent] = times + 1;
      const delayMs = Math.min(firstMs * factor ** times, capMs) * (1 - jitter + 2 * jitter * random());
      clock.after(delayMs, () => arrive(connection.agent));
    },
  });
  const arrive = (agent: number): void => {
    turns.arrive(agent < 0 ? '192.0.2.66' : `agent ${agent}`, { agent, isRefused: false });
    mostWaiting = Math.max(mostWaiting, turns.waiting);
  };
  for (let agent = 0; agent < agents; agent += 1) arrive(agent);
  const stall = (): void => {
    for (let count = 0; count < stalling; count += 1) arrive(-1);
    if (stalling > 0) clock.after(1000, stall);
  };
  stall();
  await clock.advance(60_000);
  return { back, lastMs, mostWaiting };
}

for (const [what, stalling] of [
  ['', 0],
  [', while a neighbour opens a hundred connections a second and finishes none', 100],
] as const) {
  it(`5,000 agents come back to one server within a minute${what}`, async (t) => {
    const { back, lastMs, mostWaiting } = await reconnect(5000, stalling);
    t.diagnostic(
      `the last of ${back} after ${(lastMs / 1000).toFixed(1)} s of injected time; ${mostWaiting} waited at most`,
    );
    assert.equal(back, 5000);
    assert.ok(mostWaiting <= 1024);
  });
}
