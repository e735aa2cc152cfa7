import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FailedHandshakes } from '#server/failed-handshakes.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const NODE = '192.0.2.1';

test('A failed handshake of a node counts until one succeeds, or two minutes have passed', async () => {
  const clock = new ManualClock();
  const handshakes = new FailedHandshakes(clock, (address) => address === NODE);
  assert.equal(handshakes.areFrom([NODE]), false);

  handshakes.note(NODE, false);
  assert.equal(handshakes.areFrom(['192.0.2.9', NODE]), true);
  handshakes.note(NODE, true);
  assert.equal(handshakes.areFrom([NODE]), false);

  handshakes.note(NODE, false);
  await clock.advance(119_000);
  assert.equal(handshakes.areFrom([NODE]), true);
  await clock.advance(2000);
  assert.equal(handshakes.areFrom([NODE]), false);
});

test('A failed handshake from an address that is no node’s counts for nothing', () => {
  const handshakes = new FailedHandshakes(new ManualClock(), () => false);
  handshakes.note(NODE, false);
  assert.equal(handshakes.areFrom([NODE]), false);
});
