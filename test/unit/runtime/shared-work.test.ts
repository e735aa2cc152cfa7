import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createSingleFlight } from '#runtime/single-flight.ts';
import { createNextFlight } from '#runtime/next-flight.ts';

import { settle } from '../../support/manual-clock.ts';

/** Work that ends when the test says so. */
function work() {
  const begun: PromiseWithResolvers<string>[] = [];
  const start = (): Promise<string> => {
    const one = Promise.withResolvers<string>();
    begun.push(one);
    return one.promise;
  };
  return { begun, start };
}

describe('work that is joined', () => {
  it('work that is joined is done once for all who come while it lasts, and again for who comes after', async () => {
    const { begun, start } = work();
    const joined = createSingleFlight<string>();
    const [first, second, other] = [joined('a', start), joined('a', start), joined('b', start)];
    assert.deepEqual([first.isFirst, second.isFirst, other.isFirst], [true, false, true]);
    begun[0]?.resolve('done');
    assert.deepEqual([await first.result, await second.result], ['done', 'done']);
    assert.ok(joined('a', start).isFirst);
    assert.equal(begun.length, 3);
  });
});

describe('work that begins after everybody who shares it came', () => {
  it('work that begins after everybody who shares it came is done at once for the first, and once more for all who come meanwhile', async () => {
    const { begun, start } = work();
    const share = createNextFlight<string>();
    const first = share('a', start);
    const [second, third] = [share('a', start), share('a', start)];
    await settle();
    assert.equal(begun.length, 1);
    begun[0]?.resolve('old');
    await settle();
    assert.equal(begun.length, 2);
    const fourth = share('a', start);
    begun[1]?.resolve('new');
    await settle();
    begun[2]?.resolve('newer');
    assert.deepEqual(await Promise.all([first, second, third, fourth]), ['old', 'new', 'new', 'newer']);
    await settle();
    void share('a', start);
    assert.equal(begun.length, 4, 'nothing is kept of what has ended');
  });

  it('work that begins after everybody who shares it came is not held up by other keys, nor by what fails', async () => {
    const { begun, start } = work();
    const share = createNextFlight<string>();
    const failing = share('a', start);
    const next = share('a', start);
    void share('b', start);
    assert.equal(begun.length, 2);
    begun[0]?.reject(new Error('a test'));
    await assert.rejects(failing, /a test/);
    await settle();
    begun[2]?.resolve('after all');
    assert.equal(await next, 'after all');
  });
});
