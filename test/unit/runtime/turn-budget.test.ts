import assert from 'node:assert/strict';
import { it } from 'node:test';

import { createTimeBudget, createTurnBudget } from '#runtime/turn-budget.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('a turn budget lets so many pieces of work run in one turn of the event loop, whoever asks, in the order of asking', async () => {
  const awaitTurn = createTurnBudget(10);
  let done: number[] = [];
  const workers = Array.from({ length: 25 }, async (_, worker) => {
    for (let piece = 0; piece < 2; piece += 1) {
      await awaitTurn();
      done.push(worker);
    }
  });
  const turns: number[] = [];
  const order: number[] = [];
  while (order.length < 50) {
    await nextTurn();
    turns.push(done.length);
    order.push(...done);
    done = [];
  }
  await Promise.all(workers);
  // The first look comes after the turn in which they asked and the one that followed.
  assert.deepEqual(turns, [20, 10, 10, 10]);
  const first = order.map((worker, index) => (order.indexOf(worker) === index ? worker : -1)).filter((at) => at >= 0);
  assert.deepEqual(
    first,
    Array.from({ length: 25 }, (_, worker) => worker),
  );
});

it('a turn without work fills a turn budget again', async () => {
  const awaitTurn = createTurnBudget(2);
  for (let round = 0; round < 3; round += 1) {
    let done = 0;
    void awaitTurn().then(() => (done += 1));
    void awaitTurn().then(() => (done += 1));
    void awaitTurn().then(() => (done += 1));
    await Promise.resolve();
    assert.equal(done, 2);
    await nextTurn();
    await nextTurn();
    assert.equal(done, 3);
    await nextTurn();
  }
});

it('a time budget lets work run until its milliseconds are over, and the rest in the next turn', async () => {
  const clock = new ManualClock();
  const awaitTurn = createTimeBudget(clock, 5);
  const done: number[] = [];
  const working = (async () => {
    for (let piece = 0; piece < 6; piece += 1) {
      await awaitTurn();
      done.push(piece);
      await clock.advance(2);
    }
  })();
  await working;
  assert.equal(done.length, 6);
  let isFree = false;
  await clock.advance(5);
  const waiting = Promise.all([awaitTurn(), awaitTurn()]).then(() => (isFree = true));
  await Promise.resolve();
  assert.equal(isFree, false, 'the turn is over');
  await waiting;
  await awaitTurn();
});
