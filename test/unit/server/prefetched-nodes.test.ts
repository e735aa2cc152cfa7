import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { PodRecord } from '#domain/pod.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { PrefetchedNodes } from '#server/prefetched-nodes.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';

const HOUR_MS = 3_600_000;

function world() {
  const clock = new ManualClock();
  const feeds = new NodeFeeds();
  const nodes = new PrefetchedNodes({ feeds, clock, rememberMs: HOUR_MS });
  const changes: string[] = [];
  nodes.subscribe((node) => void changes.push(node === 'all' ? 'all' : node.by === 'name' ? node.name : node.address));
  const pod = (nodeName: string): PodRecord => podRecord({ nodeName, hostIps: [`192.0.2.${nodeName.length}`] });
  return {
    clock,
    nodes,
    changes,
    pod,
    openStream: (name: string) => feeds.add({ by: 'name', name }, { inspect: () => assert.fail('nobody looks at it') }),
    has: (...names: string[]) => names.map((name) => nodes.has(pod(name))),
    [Symbol.dispose]: () => nodes.close(),
  };
}

test("a node is this replica's from its first stream to its last", () => {
  using it = world();
  assert.deepEqual(it.has('a', 'bb'), [false, false]);
  const first = it.openStream('a');
  const second = it.openStream('a');
  assert.deepEqual(it.has('a', 'bb'), [true, false]);
  first();
  assert.deepEqual(it.has('a'), [true]);
  second();
  assert.deepEqual(it.has('a'), [false]);
  assert.deepEqual(it.changes, ['a', 'a']);
});

test('where no agent has a stream the first question stands for every node, until one has', () => {
  using it = world();
  it.nodes.asked(it.pod('a'), false);
  assert.deepEqual(it.has('a', 'bb'), [true, true]);
  it.nodes.asked(it.pod('ccc'), false);
  it.nodes.asked(it.pod('bb'), true);
  assert.deepEqual(it.has('a', 'bb', 'ccc'), [true, false, true]);
  assert.deepEqual(it.changes, ['all', 'ccc', 'all']);
});

test('beside agents with streams only the nodes of those without one that ask are prefetched for', () => {
  using it = world();
  it.openStream('a');
  it.nodes.asked(it.pod('bb'), false);
  assert.deepEqual(it.has('a', 'bb', 'ccc'), [true, true, false]);
});

test('an agent with a stream to another replica that asks here leaves its node to that replica', () => {
  using it = world();
  it.nodes.asked(it.pod('a'), true);
  it.nodes.asked(it.pod('bb'), false);
  assert.deepEqual(it.has('a', 'bb'), [false, true]);
  it.nodes.asked(it.pod('bb'), true);
  assert.deepEqual(it.has('bb'), [false], 'its agent was replaced by one with a stream');
});

test('an agent without a stream is remembered for as long as its pods have something to ask again', async () => {
  using it = world();
  it.openStream('other');
  it.nodes.asked(it.pod('a'), false);
  await it.clock.advance(50 * 60_000);
  it.nodes.asked(it.pod('a'), false);
  await it.clock.advance(50 * 60_000);
  assert.deepEqual(it.has('a'), [true]);
  await it.clock.advance(11 * 60_000);
  assert.deepEqual(it.has('a'), [false]);
  assert.deepEqual(it.changes, ['other', 'a', 'a']);
});

test('a pod that is on no node yet waits for one', () => {
  using it = world();
  const nowhere = podRecord({ nodeName: '', hostIps: [] });
  it.nodes.asked(nowhere, false);
  assert.equal(it.nodes.has(nowhere), false);
});
