import assert from 'node:assert/strict';
import { it } from 'node:test';

import { createBoundedLabel } from '#telemetry/bounded-label.ts';

it('A label has as many values as it may have, and what comes later is counted together.', () => {
  const bounded = createBoundedLabel(3);
  const values = ['a', 'b', 'a', 'c', 'd', 'e', 'b'].map(bounded);
  assert.deepEqual(values, ['a', 'b', 'a', 'c', 'other', 'other', 'b']);
});
