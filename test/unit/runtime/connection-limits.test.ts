import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';

import { type ConnectionLimits, limitConnections } from '#runtime/connection-limits.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const NONE: ConnectionLimits = { perAddress: 100, inAll: 100, keptForNeighbours: 0, ratePerSecond: 0, burst: 0 };
const NEIGHBOUR = '127.0.9.';

/** A server that says a byte to each connection that it keeps; whether it keeps one is known when either has come. */
async function started(t: TestContext, limits: Partial<ConnectionLimits>) {
  const clock = new ManualClock();
  const answering = new Set<string>();
  const refused: string[] = [];
  const server = createServer();
  limitConnections(server, {
    limits: { ...NONE, ...limits },
    clock,
    addressOf: ({ remoteAddress }) => remoteAddress,
    isNeighbour: (address) => address.startsWith(NEIGHBOUR),
    isAnswering: ({ remotePort }) => answering.has(String(remotePort)),
    onRefused: () => refused.push('x'),
  });
  server.on('connection', (socket: Socket) => socket.on('error', () => {}).write('x'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  t.after(() => server.close());

  const open = async (localAddress: string): Promise<{ isOpen: () => boolean; socket: Socket }> => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    t.after(() => socket.destroy());
    let closed = false;
    const settled = new Promise<void>((resolve) => {
      socket
        .on('error', () => {})
        .on('data', () => resolve())
        .on('close', () => {
          closed = true;
          resolve();
        });
    });
    await settled;
    return { socket, isOpen: () => !closed };
  };
  /** Connects so often, and tells for how many it did not hold once the others had their turn. */
  const openMany = async (localAddress: string, count: number): Promise<(() => boolean)[]> => {
    const kept: (() => boolean)[] = [];
    for (let n = 0; n < count; n += 1) kept.push((await open(localAddress)).isOpen);
    return kept;
  };
  return { clock, answering, refused, open, openMany };
}

async function countOf(kept: readonly (() => boolean)[]): Promise<number> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  return kept.filter((isOpen) => isOpen()).length;
}

test('the oldest connection of an address on which no answer is owed gives way to a new one', async (t) => {
  const { clock, answering, open, refused } = await started(t, { perAddress: 2 });
  const first = await open('127.0.1.1');
  answering.add(String(first.socket.localPort));
  const second = await open('127.0.1.1');
  await clock.advance(200);
  const third = await open('127.0.1.1');
  await once(second.socket, 'close');
  assert.deepEqual([first.isOpen(), second.isOpen(), third.isOpen()], [true, false, true]);
  assert.equal(refused.length, 1);
});

test('a connection whose request may be on its way does not give way: the new one is refused', async (t) => {
  const { open, openMany } = await started(t, { perAddress: 2 });
  const kept = await openMany('127.0.1.1', 4);
  assert.equal(await countOf(kept), 2);
  assert.equal((await open('127.0.1.2')).isOpen(), true);
});

test("the node's own address may have four times as many, for it is the kubelet's too", async (t) => {
  const { openMany } = await started(t, { perAddress: 2 });
  assert.equal(await countOf(await openMany('127.0.0.1', 10)), 8);
});

test('with too many connections in all, the address that has the most loses one', async (t) => {
  const { openMany, open } = await started(t, { inAll: 10 });
  const greedy = await openMany('127.0.1.1', 9);
  const modest = [await open('127.0.1.2'), await open('127.0.1.3'), await open('127.0.1.4')];
  assert.equal(await countOf(greedy), 7);
  assert.equal(await countOf(modest.map(({ isOpen }) => isOpen)), 3);
});

test('many addresses from afar leave a share to the pods of this node, which none of them gets', async (t) => {
  const { openMany, open } = await started(t, { inAll: 40, keptForNeighbours: 10 });
  const far: (() => boolean)[] = [];
  for (let n = 1; n <= 50; n += 1) far.push((await open(`127.0.2.${n}`)).isOpen);
  assert.equal(await countOf(far), 30);
  const near = await openMany(`${NEIGHBOUR}1`, 10);
  assert.equal(await countOf(near), 10);
  assert.equal(await countOf(far), 30);
  const more = await openMany(`${NEIGHBOUR}2`, 5);
  assert.equal(await countOf([...near, ...more, ...far]), 40);
  assert.equal(await countOf(more), 5);
});

test('new connections of an address beyond their rate are closed at once', async (t) => {
  const { clock, openMany, open } = await started(t, { ratePerSecond: 10, burst: 3 });
  assert.equal(await countOf(await openMany('127.0.1.1', 5)), 3);
  assert.equal((await open('127.0.1.2')).isOpen(), true);
  await clock.advance(200);
  assert.equal(await countOf(await openMany('127.0.1.1', 5)), 2);
});
