import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStandardErrorWriter } from '#telemetry/standard-error.ts';

/** A descriptor that takes as many bytes a call as the plan says; 0 is a full pipe. */
function pipe(plan: number[]): { write: (descriptor: number, bytes: Uint8Array) => number; text: () => string } {
  const taken: Uint8Array[] = [];
  return {
    write: (descriptor, bytes) => {
      assert.equal(descriptor, 2);
      const most = plan.shift() ?? bytes.length;
      if (most === 0) throw Object.assign(new Error('full'), { code: 'EAGAIN' });
      taken.push(bytes.slice(0, most));
      return Math.min(most, bytes.length);
    },
    text: () => Buffer.concat(taken).toString(),
  };
}

const CASES: readonly (readonly [string, number[], string])[] = [
  ['A line that is taken in parts arrives whole', [1, 2], 'one\ntwo\nthree\n'],
  ['A line that finds the pipe full is lost and the next ones are written', [0], 'two\nthree\n'],
  ['A line that was begun is finished before the next', [2, 0], 'one\ntwo\nthree\n'],
  ['While a begun line cannot be finished no other is written', [2, 0, 0], 'one\nthree\n'],
];

for (const [name, plan, expected] of CASES) {
  test(name, () => {
    const { write, text } = pipe(plan);
    const writeLine = createStandardErrorWriter(write);
    for (const line of ['one\n', 'two\n', 'three\n']) writeLine(line);
    assert.equal(text(), expected);
  });
}
