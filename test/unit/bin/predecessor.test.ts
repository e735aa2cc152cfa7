import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { describe, it, type TestContext } from 'node:test';

import { waitBesidePredecessor } from '#bin/predecessor.ts';
import { type Clock, systemClock } from '#runtime/clock.ts';

import { recordingLogger } from '../../support/recording-logger.ts';

/** The clock of a process that is so busy that its timers have run out whenever it looks. */
const starved: Clock = {
  ...systemClock,
  after: (delayMs, task) => {
    if (delayMs !== 100) return systemClock.after(delayMs, task);
    queueMicrotask(task);
    return () => {};
  },
};

describe('waitBesidePredecessor', () => {
  for (const [name, clock] of [
    ['an idle machine', systemClock],
    ['a busy machine', starved],
  ] as const) {
    it(`waitBesidePredecessor waits on ${name} while another listens, until this one is ready`, async (t) => {
      const { wait, become } = await beside(t, clock);
      const waited = wait();
      assert.equal(await settled(waited, 200), false);
      become.ready();
      await waited;
    });
  }

  it('waitBesidePredecessor ends when the other one is gone, whether or not this one is ready', async (t) => {
    const { wait, server, lines } = await beside(t, systemClock);
    const waited = wait();
    assert.equal(await settled(waited, 200), false);
    server.close();
    await waited;
    assert.equal(lines().length, 1, 'it says so once');
  });

  it('waitBesidePredecessor does not wait where nobody listens', async (t) => {
    const { wait, server, lines } = await beside(t, systemClock);
    await new Promise((resolve) => {
      server.close(resolve);
    });
    await wait();
    assert.deepEqual(lines(), []);
  });
});

async function beside(
  t: TestContext,
  clock: Clock,
): Promise<{ wait: () => Promise<void>; become: { ready(): void }; server: Server; lines: () => readonly unknown[] }> {
  const server = createServer((socket) => socket.destroy());
  t.after(() => server.close());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  let reasons: readonly string[] = ['no server has answered yet'];
  const { logger, lines } = recordingLogger();
  const { signal } = new AbortController();
  return {
    wait: () => waitBesidePredecessor({ host: '', port, reasons: () => reasons, clock, logger, signal }),
    become: {
      ready: () => {
        reasons = [];
      },
    },
    server,
    lines: () => lines,
  };
}

/** Whether a promise is settled within so many milliseconds. */
function settled(promise: Promise<void>, limitMs: number): Promise<boolean> {
  return Promise.race([
    promise.then(() => true),
    new Promise<boolean>((resolve) => {
      setTimeout(() => resolve(false), limitMs);
    }),
  ]);
}
