import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { PodCache } from '#kubernetes/pod-cache.ts';
import type { NodeUpdate } from '#rpc/contract.ts';
import { createTurnBudget } from '#runtime/turn-budget.ts';
import { createSlots } from '#runtime/slots.ts';
import type { Scope } from '#server/agent-scope.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import { NodeReports } from '#server/node-reports.ts';
import { createNodeWatch } from '#server/node-watch.ts';

import { ManualClock, settle } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const HERE = { by: 'name', name: 'node-1' } as const;
const THERE = { by: 'name', name: 'node-2' } as const;

/** The streams of a server whose agents have the scope that a test says. */
function watchThat() {
  const clock = new ManualClock();
  const pods = new PodCache({ logger: recordingLogger().logger });
  pods.upsert(podRecord({ uid: 'here', name: 'here', addresses: ['192.0.2.1'], nodeName: 'node-1' }));
  pods.upsert(podRecord({ uid: 'there', name: 'there', addresses: ['192.0.2.2'], nodeName: 'node-2' }));
  pods.upsert(podRecord({ uid: 'agent', name: 'agent', hostNetwork: true, nodeName: 'node-1' }));
  const feeds = new NodeFeeds();
  const world = { scope: { kind: 'unknown' } as Scope, asked: 0 };
  const closing = new AbortController();
  const watch = createNodeWatch({
    scope: {
      of: () => {
        world.asked += 1;
        return Promise.resolve(world.scope);
      },
    },
    feeds,
    reports: new NodeReports(),
    index: new NodeIndex(pods),
    pods,
    namespaces: { subscribe: () => () => {} },
    credentials: { peek: () => undefined, subscribe: () => () => {} },
    identify: () => undefined,
    noteRevoked: () => {},
    silenceMs: () => 0,
    viewAgeMs: () => 0,
    maxViewAgeMs: 30_000,
    clock,
    wholeSets: createSlots(8),
    awaitTurn: createTurnBudget(100),
    lifetimeMs: 3_600_000,
    closing: closing.signal,
  });
  /** Opens a stream of an agent that says it is on the first node. */
  const open = async (scope: Scope) => {
    world.scope = scope;
    const gone = new AbortController();
    const stream = { sent: new Array<NodeUpdate>(), end: 'open', hasGivenWay: false, gone };
    void watch(
      { host_ip: '198.51.100.1' },
      {
        signal: gone.signal,
        peer: '',
        token: '',
        certificate: () => '',
        giveWay: () => {
          stream.hasGivenWay = true;
          gone.abort();
        },
        send: (update) => !gone.signal.aborted && stream.sent.push(update) > 0,
        drained: () => Promise.resolve(),
      },
    ).then((end) => {
      stream.end = end;
    });
    await settle();
    return stream;
  };
  const streamsOf = (nodeName: string): number => feeds.ofPod(podRecord({ nodeName, hostIps: [] })).length;
  return { clock, pods, world, closing, open, streamsOf };
}

function podsIn(sent: readonly NodeUpdate[]): readonly string[] {
  return sent.flatMap(({ pod }) => (pod === undefined ? [] : [pod.uid]));
}

describe('the watch of a node', () => {
  it('the watch of a node tells of the node that is proven, whatever the agent says of itself', async () => {
    const { sent } = await watchThat().open({ kind: 'node', node: THERE });
    assert.deepEqual(podsIn(sent), ['there']);
  });

  it('the watch of a node is known under the node that is proven for as long as it is open', async () => {
    const { open, streamsOf, closing } = watchThat();
    const stream = await open({ kind: 'node', node: THERE });
    assert.deepEqual([streamsOf('node-1'), streamsOf('node-2')], [0, 1]);
    closing.abort();
    await settle();
    assert.deepEqual([stream.end, streamsOf('node-2')], ['ended', 0]);
  });

  for (const [kind, expected] of [
    ['any', 'unproven'],
    ['refused', 'unproven'],
    ['unknown', 'unknown'],
  ] as const) {
    it(`the watch of a node tells an agent nothing whose scope is ${kind}`, async () => {
      const { end, sent } = await watchThat().open({ kind });
      assert.deepEqual([end, sent], [expected, []]);
    });
  }

  it('the watch of a node is open twice for a node: of three the oldest gives way', async () => {
    const { open, streamsOf } = watchThat();
    const streams = [];
    for (let count = 0; count < 4; count += 1) streams.push(await open({ kind: 'node', node: HERE }));
    await open({ kind: 'node', node: THERE });
    await settle();
    assert.deepEqual(
      streams.map(({ hasGivenWay }) => hasGivenWay),
      [true, true, false, false],
    );
    assert.deepEqual([streamsOf('node-1'), streamsOf('node-2')], [2, 1]);
  });

  it('the watch of a node leaves its place when it ends', async () => {
    const { open } = watchThat();
    const first = await open({ kind: 'node', node: HERE });
    for (let count = 0; count < 10; count += 1) {
      const { gone } = await open({ kind: 'node', node: HERE });
      gone.abort();
      await settle();
    }
    assert.equal(first.hasGivenWay, false);
  });

  it('the watch of a node ends as planned when the agent’s pod is deleted, and continues when others are', async () => {
    const { pods, clock, open } = watchThat();
    const stream = await open({ kind: 'node', node: HERE, agentUid: 'agent' });
    pods.remove('here');
    pods.upsert(podRecord({ uid: 'agent', name: 'agent', hostNetwork: true, terminating: true, resourceVersion: '2' }));
    await clock.advance(10_000);
    assert.equal(stream.end, 'open');
    pods.remove('agent');
    await settle();
    assert.equal(stream.end, 'ended');
    assert.ok(stream.sent.at(-1)?.moved);
  });

  it('the watch of a node does not begin for an agent whose pod has gone meanwhile', async () => {
    const stream = await watchThat().open({ kind: 'node', node: HERE, agentUid: 'gone' });
    assert.equal(stream.end, 'ended');
  });

  for (const [what, scope, expected] of [
    ['proves the same', { kind: 'node', node: HERE, agentUid: 'agent' }, 'open'],
    ['cannot be told', { kind: 'unknown' }, 'open'],
    ['is refused', { kind: 'refused' }, 'ended'],
    ['proves another node', { kind: 'node', node: THERE, agentUid: 'agent' }, 'ended'],
  ] as const) {
    it(`the watch of a node asks again every minute who the agent is; one that ${what}: ${expected}`, async () => {
      const { clock, world, open } = watchThat();
      const stream = await open({ kind: 'node', node: HERE, agentUid: 'agent' });
      world.scope = scope;
      await clock.advance(59_999);
      assert.deepEqual([stream.end, world.asked], ['open', 1]);
      await clock.advance(1);
      await settle();
      assert.deepEqual([stream.end, world.asked], [expected, 2]);
    });
  }

  it('the watch of a node asks nobody any more when it has ended', async () => {
    const { clock, world, open } = watchThat();
    const stream = await open({ kind: 'node', node: HERE, agentUid: 'agent' });
    stream.gone.abort();
    await clock.advance(600_000);
    assert.deepEqual([stream.end, world.asked], ['ended', 1]);
  });
});
