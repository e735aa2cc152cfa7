import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { status } from '@grpc/grpc-js';

import { NodeStore } from '#agent/node/store.ts';
import { NodeStream } from '#agent/node/stream.ts';
import type { SendReport, StreamEnd, WatchOptions } from '#rpc/client.ts';
import type { NodeUpdate } from '#rpc/contract.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { HEARTBEAT, MOVED, podUpdate, SYNCED } from './updates.ts';

const unsent: SendReport = () => Promise.resolve({ ok: true, response: {} });

/** A node's stream before a server that a test plays. `random` is 1 as nearly as can be: delays are at their longest. */
function streamThat() {
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  const store = new NodeStore();
  const opened: number[] = [];
  let current: { options: WatchOptions; end: (end: StreamEnd) => void } | undefined;
  const client = {
    watchNode: (_request: object, options: WatchOptions): Promise<StreamEnd> => {
      opened.push(clock.monotonic());
      return new Promise((resolve) => {
        const end = (ended: StreamEnd): void => {
          current = undefined;
          resolve(ended);
        };
        current = { options, end };
        options.signal.addEventListener('abort', () =>
          end({ code: status.CANCELLED, details: 'cancelled', moved: false }),
        );
      });
    },
  };
  const reports: AbortSignal[] = [];
  const reporter = {
    run: (_send: SendReport, signal: AbortSignal) => {
      reports.push(signal);
      return Promise.resolve();
    },
  };
  const stream = new NodeStream({ client, store, clock, logger, hostIp: '198.51.100.1', reporter, random: () => 1 });
  const stopping = new AbortController();
  const running = stream.run(stopping.signal);
  return {
    clock,
    store,
    stream,
    opened,
    lines,
    stopping,
    running,
    reports,
    isOpen: (): boolean => current !== undefined,
    says: (...updates: readonly NodeUpdate[]): void =>
      updates.forEach((update) => current?.options.onUpdate(update, unsent)),
    ends: async (code: status = status.UNAVAILABLE, moved = false): Promise<void> => {
      current?.end({ code, details: 'the end', moved });
      await clock.advance(0);
    },
    /** Says a heartbeat every two seconds for so long. */
    live: async function live(forMs: number): Promise<void> {
      for (let pastMs = 0; pastMs < forMs; pastMs += 2000) {
        await clock.advance(2000);
        this.says(HEARTBEAT);
      }
    },
  };
}

describe('the stream of a node', () => {
  it('the stream of a node is live from the mark that everything was said, for six seconds after each word', async () => {
    const node = streamThat();
    node.says(podUpdate());
    assert.equal(node.stream.isLive, false);
    assert.equal(node.stream.silenceMs(), Number.POSITIVE_INFINITY);
    node.says(SYNCED);
    assert.equal(node.stream.isLive, true);
    await node.clock.advance(5000);
    assert.equal(node.stream.silenceMs(), 5000);
    node.says(HEARTBEAT);
    await node.clock.advance(5999);
    assert.equal(node.stream.isLive, true);
    await node.clock.advance(1);
    assert.equal(node.stream.isLive, false);
    node.stopping.abort();
  });

  it('the stream of a node is heard for three seconds after each word, if its whole set has been told, and not while it is opened anew', async () => {
    const node = streamThat();
    node.says(podUpdate());
    assert.equal(node.stream.isHeard, false);
    node.says(SYNCED);
    await node.live(20_000);
    assert.equal(node.stream.isHeard, true);
    await node.clock.advance(2999);
    assert.equal(node.stream.isHeard, true);
    await node.clock.advance(1);
    assert.deepEqual([node.stream.isHeard, node.stream.isLive], [false, true]);
    node.says(HEARTBEAT, MOVED);
    assert.equal(node.stream.isHeard, true);
    await node.ends(status.OK);
    assert.deepEqual([node.isOpen(), node.stream.isHeard, node.stream.isLive], [true, false, true]);
    node.says(HEARTBEAT);
    assert.equal(node.stream.isHeard, true);
    await node.ends();
    node.says(HEARTBEAT);
    assert.deepEqual([node.isOpen(), node.stream.isHeard], [true, false]);
    node.stopping.abort();
  });

  it('the stream of a node takes a stream that says nothing for lost, and opens another at once', async () => {
    for (const said of [[], [SYNCED]]) {
      const node = streamThat();
      node.says(...said);
      await node.clock.advance(7000);
      assert.deepEqual(node.opened.slice(0, 2), [0, 6000]);
      node.stopping.abort();
      await node.running;
    }
  });

  it('the stream of a node keeps what it was told when the stream is lost, and counts the silence until the next whole set', async () => {
    const node = streamThat();
    node.says(podUpdate(), SYNCED);
    await node.clock.advance(1000);
    await node.ends();
    assert.equal(node.stream.isLive, false);
    node.says(podUpdate({ uid: 'uid-2', addresses: ['192.0.2.2'] }), HEARTBEAT);
    await node.clock.advance(3000);
    assert.equal(node.store.find('192.0.2.1')?.uid, 'uid-1');
    assert.equal(node.stream.silenceMs(), 4000);
    node.says(SYNCED);
    assert.equal(node.stream.silenceMs(), 0);
    assert.equal(node.store.find('192.0.2.1'), undefined);
    node.stopping.abort();
  });

  it('the stream of a node comes back at once whenever a stream is lost that has lasted', async () => {
    const node = streamThat();
    for (let loss = 1; loss <= 3; loss += 1) {
      node.says(SYNCED);
      await node.live(6000);
      await node.ends();
      assert.equal(node.opened.at(-1), node.clock.monotonic());
      await node.ends();
      assert.equal(node.isOpen(), false);
      await node.clock.advance(200);
      assert.equal(node.isOpen(), true);
    }
    node.stopping.abort();
  });

  it('the stream of a node waits 200 ms, 400 ms and so on while every stream is refused', async () => {
    const node = streamThat();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 9; attempt += 1) {
      const endedMs = node.clock.monotonic();
      await node.ends();
      while (!node.isOpen()) await node.clock.advance(50);
      waits.push(node.clock.monotonic() - endedMs);
    }
    assert.deepEqual(waits, [0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    node.stopping.abort();
  });

  it('the stream of a node is not hurried by a server that says everything and breaks each time', async () => {
    const node = streamThat();
    for (let attempt = 0; attempt < 20; attempt += 1) {
      while (!node.isOpen()) await node.clock.advance(50);
      node.says(SYNCED);
      await node.ends();
    }
    assert.ok(node.clock.monotonic() > 60_000, `20 streams in ${node.clock.monotonic()} ms`);
    node.stopping.abort();
  });

  it('the stream of a node opens another at once when the server ends it as planned, and is live all the time', async () => {
    const node = streamThat();
    node.says(SYNCED);
    await node.live(6000);
    node.says(MOVED);
    await node.ends(status.OK);
    assert.deepEqual(node.opened, [0, 6000]);
    assert.equal(node.stream.isLive, true);
    await node.clock.advance(3000);
    node.says(SYNCED);
    await node.live(6000);
    await node.ends(status.CANCELLED, true);
    assert.deepEqual(node.opened, [0, 6000, 15_000]);
    assert.equal(node.lines.filter(({ level }) => level !== 'info').length, 0);
    node.stopping.abort();
  });

  it('the stream of a node does not run in circles before servers that all send it away', async () => {
    const node = streamThat();
    for (let attempt = 0; attempt < 20; attempt += 1) {
      while (!node.isOpen()) await node.clock.advance(50);
      node.says(SYNCED, MOVED);
      await node.ends(status.OK);
    }
    assert.ok(node.clock.monotonic() > 60_000, `20 streams in ${node.clock.monotonic()} ms`);
    node.stopping.abort();
  });

  it('the stream of a node forgets everything before a server that has no stream, and asks again ever later up to a minute', async () => {
    const node = streamThat();
    node.says(podUpdate(), SYNCED);
    for (let attempt = 0; attempt < 9; attempt += 1) {
      await node.ends(status.UNIMPLEMENTED);
      assert.equal(node.store.size, 0);
      assert.equal(node.stream.isLive, false);
      while (!node.isOpen()) await node.clock.advance(500);
    }
    const waits = node.opened.map((atMs, index) => atMs - (node.opened[index - 1] ?? 0)).slice(1);
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert.equal(node.lines.filter(({ message }) => message.includes('no stream for this node')).length, 1);
    node.stopping.abort();
  });

  it('the stream of a node says once that the stream is lost, and once that it is back', async () => {
    const node = streamThat();
    node.says(SYNCED);
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await node.ends();
      while (!node.isOpen()) await node.clock.advance(50);
    }
    node.says(SYNCED);
    assert.deepEqual(
      node.lines.map(({ level, message }) => `${level}: ${message}`),
      [
        'info: the server streams what the pods of this node may have',
        'warn: the stream from the server is lost; retrying',
        'info: the server streams what the pods of this node may have',
      ],
    );
    node.stopping.abort();
  });

  it('the stream of a node carries reports from its whole set to its end', async () => {
    const node = streamThat();
    assert.equal(node.reports.length, 0);
    node.says(SYNCED);
    assert.deepEqual(
      node.reports.map(({ aborted }) => aborted),
      [false],
    );
    await node.ends();
    assert.deepEqual(
      node.reports.map(({ aborted }) => aborted),
      [true],
    );
    node.stopping.abort();
  });

  it('the stream of a node ends when told to, in a stream as in a wait', async () => {
    const streaming = streamThat();
    streaming.stopping.abort();
    await streaming.running;
    const waiting = streamThat();
    await waiting.ends(status.UNIMPLEMENTED);
    waiting.stopping.abort();
    await waiting.running;
    assert.deepEqual([streaming.opened.length, waiting.opened.length], [1, 1]);
  });
});
