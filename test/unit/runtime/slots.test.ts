import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createSlots } from '#runtime/slots.ts';

import { settle } from '../../support/manual-clock.ts';

describe('slots', () => {
  it('slots let so many tasks run at a time, and the others in the order of their coming', async () => {
    const slots = createSlots(2);
    const started: number[] = [];
    const ends: (() => void)[] = [];
    const running = [0, 1, 2, 3].map((index) =>
      slots.run(async () => {
        started.push(index);
        await new Promise<void>((resolve) => ends.push(resolve));
        return index;
      }),
    );
    await settle();
    assert.deepEqual(started, [0, 1]);
    assert.equal(
      slots.tryRun(() => Promise.resolve()),
      undefined,
    );
    ends[1]?.();
    await settle();
    assert.deepEqual(started, [0, 1, 2]);
    for (const end of ends) end();
    await settle();
    ends.at(-1)?.();
    assert.deepEqual(await Promise.all(running), [0, 1, 2, 3]);
    assert.equal(await slots.tryRun(() => Promise.resolve('free')), 'free');
  });

  it('slots are free again after a task that failed', async () => {
    const slots = createSlots(1);
    await assert.rejects(
      slots.run(() => Promise.reject(new Error('broken'))),
      /broken/,
    );
    assert.equal(await slots.run(() => Promise.resolve(1)), 1);
  });
});
