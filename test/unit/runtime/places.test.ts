import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createPlaces } from '#runtime/places.ts';

describe('places', () => {
  it('places go to the newest: whoever has held one longest gives way, once, and only to those of the same key', () => {
    const takePlace = createPlaces(2);
    const gaveWay: string[] = [];
    const leaves = ['a1', 'a2', 'a3', 'b1', 'a4', 'b2'].map((name) =>
      takePlace(name.charAt(0), () => void gaveWay.push(name)),
    );
    assert.deepEqual(gaveWay, ['a1', 'a2']);
    for (const leave of leaves) leave();
    for (const leave of leaves) leave();
    for (const name of ['a5', 'a6']) takePlace('a', () => void gaveWay.push(name));
    assert.deepEqual(gaveWay, ['a1', 'a2'], 'those that were left are free');
  });
});
