import { describe, it } from 'node:test';

import fc from 'fast-check';

import { PROPERTIES } from '../../fuzz/properties.ts';

/** A taste of `npm run fuzz`, bounded by time. A failure names its seed. */
const LIMIT_MS = 1000;

describe('for every input', () => {
  for (const { name, property } of PROPERTIES) {
    it(name, async () => {
      await fc.assert(property, { numRuns: 1_000_000, interruptAfterTimeLimit: LIMIT_MS });
    });
  }
});
