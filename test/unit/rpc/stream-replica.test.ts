import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Replicas } from '#rpc/replicas.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const NODES = Array.from({ length: 300 }, (_, index) => `10.0.${Math.floor(index / 250)}.${index % 250}`);

function connected(...names: readonly string[]): Replicas {
  const replicas = new Replicas(new ManualClock(), () => 0.5);
  replicas.update(new Set(names), names);
  return replicas;
}

function homes(replicas: Replicas): ReadonlyMap<string, string> {
  return new Map(NODES.map((node) => [node, replicas.chooseForStream(node) ?? '']));
}

test('a node has its stream at the same replica, in whatever order they connect, and nodes spread evenly', () => {
  const before = homes(connected('a', 'b', 'c'));
  assert.deepEqual(homes(connected('c', 'a', 'b')), before);
  for (const name of ['a', 'b', 'c']) {
    const share = [...before.values()].filter((home) => home === name).length;
    assert.ok(share > 70 && share < 130, `${name} has ${share} of ${NODES.length}`);
  }
});

test('when a replica goes only its nodes move, evenly, and they come back with it', () => {
  const before = homes(connected('a', 'b', 'c'));
  const without = homes(connected('a', 'c'));
  let toA = 0;
  let moved = 0;
  for (const [node, home] of before) {
    if (home !== 'b') assert.equal(without.get(node), home);
    else {
      moved += 1;
      if (without.get(node) === 'a') toA += 1;
    }
  }
  assert.ok(toA > moved / 4 && toA < (moved * 3) / 4, `${toA} of ${moved} moved to the same`);
});

test('agents that do not know the address of their node do not all choose the same replica', () => {
  const chosen = new Set<string | undefined>();
  for (let agent = 0; agent < 20; agent += 1) {
    const replicas = new Replicas(new ManualClock(), () => agent / 20);
    replicas.update(new Set(['a', 'b', 'c']), ['a', 'b', 'c']);
    chosen.add(replicas.chooseForStream(''));
  }
  assert.equal(chosen.size, 3);
});

test('a replica that has just broken off a stream, or is silent, comes after the others, and is chosen again later', async () => {
  const clock = new ManualClock();
  const replicas = new Replicas(clock, () => 0);
  replicas.update(new Set(['a', 'b']), ['a', 'b']);
  const home = replicas.chooseForStream('node') ?? '';
  const other = home === 'a' ? 'b' : 'a';
  replicas.streamOpened(home)(true);
  assert.equal(replicas.chooseForStream('node'), home, 'as planned');
  replicas.streamOpened(home)(false);
  assert.equal(replicas.chooseForStream('node'), other);
  await clock.advance(5000);
  assert.equal(replicas.chooseForStream('node'), home);
  replicas.foundSilent(home);
  assert.equal(replicas.chooseForStream('node'), other);
});

test('questions go to the replica with the stream first, unless it is silent or was asked already', async () => {
  const clock = new ManualClock();
  const replicas = new Replicas(clock, () => 0);
  replicas.update(new Set(['a', 'b', 'c']), ['a', 'b', 'c']);
  const end = replicas.streamOpened('b');
  for (let call = 0; call < 6; call += 1) {
    assert.equal(replicas.choose(new Set()), 'b');
    if (call < 3) replicas.asked('b')(true);
  }
  assert.notEqual(replicas.choose(new Set(['b'])), 'b');
  replicas.asked('b');
  await clock.advance(250);
  assert.notEqual(replicas.choose(new Set()), 'b');
  end(true);
  const asked = new Set(Array.from({ length: 6 }, () => replicas.choose(new Set())));
  assert.deepEqual(asked, new Set(['a', 'c']));
});
