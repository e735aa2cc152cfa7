import assert from 'node:assert/strict';
import { it } from 'node:test';

import { oncePerChange, oncePerInterval, oncePerKey } from '#telemetry/once.ts';

import { ManualClock } from '../../support/manual-clock.ts';

it('a state is news at each change, and its first is none', () => {
  const isNews = oncePerChange('well');
  const states = ['well', 'away', 'away', 'well', 'well', 'away'];
  assert.deepEqual(states.map(isNews), [false, true, false, true, false, true]);
});

it('a key is new once, and none is beyond so many', () => {
  const isNew = oncePerKey({ most: 2 });
  assert.deepEqual(['a', 'a', 'b', 'c', 'b', 'c'].map(isNew), [true, false, true, false, false, false]);
});

it('a key is due again when its interval has passed, whatever other keys are, and the oldest is forgotten', async () => {
  const clock = new ManualClock();
  const isDue = oncePerInterval({ clock, intervalMs: 1000, most: 2 });
  assert.deepEqual(['a', 'a', 'b'].map(isDue), [true, false, true]);
  await clock.advance(999);
  assert.equal(isDue('a'), false);
  await clock.advance(1);
  assert.equal(isDue('a'), true);
  // `b` is now the oldest of the two, and makes room.
  assert.deepEqual(['c', 'a', 'b'].map(isDue), [true, false, true]);
});
