import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { parseDuration } from '#runtime/duration.ts';

/** What Go 1.26's time.ParseDuration answers, in milliseconds; undefined where it returns an error. */
const CASES: readonly (readonly [string, number | undefined])[] = [
  ['0', 0],
  ['0s', 0],
  ['+5s', 5000],
  ['-1s', -1000],
  ['-0', 0],
  ['300ms', 300],
  ['90s', 90_000],
  ['1m30s', 90_000],
  ['1h30m0s', 5_400_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['1.s', 1000],
  ['1us', 0.001],
  ['1µs', 0.001],
  ['1μs', 0.001],
  ['1s1ms', 1001],
  ['2562047h', 9_223_369_200_000],
  ['', undefined],
  ['1', undefined],
  ['1d', undefined],
  ['-', undefined],
  ['.', undefined],
  ['.s', undefined],
  ['s', undefined],
  ['1 s', undefined],
  [' 1s', undefined],
  ['1s ', undefined],
  ['--1s', undefined],
  ['1e3s', undefined],
  ['3000000h', undefined],
];

describe('parseDuration', () => {
  for (const [text, expectedMs] of CASES) {
    it(`parseDuration reads ${JSON.stringify(text)} as ${expectedMs ?? 'an error'}`, () => {
      const actual = parseDuration(text);
      assert.equal(actual === undefined ? undefined : actual + 0, expectedMs);
    });
  }
});
