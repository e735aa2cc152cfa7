import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { PodCache } from '#kubernetes/pod-cache.ts';
import type { NodeUpdate } from '#rpc/contract.ts';
import { createPortions } from '#runtime/portions.ts';
import { createSlots } from '#runtime/slots.ts';
import type { Scope } from '#server/agent-scope.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import { createNodeWatch } from '#server/node-watch.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NODE = '198.51.100.1';

/** What an agent of this scope, which says that it is on `NODE`, is told, and how its stream ends. */
async function watchAs(scope: Scope) {
  const pods = new PodCache({ logger: recordingLogger().logger });
  pods.upsert(podRecord({ uid: 'here', name: 'here', addresses: ['192.0.2.1'], hostIp: NODE }));
  pods.upsert(podRecord({ uid: 'there', name: 'there', addresses: ['192.0.2.2'], hostIp: '198.51.100.2' }));
  const sent: NodeUpdate[] = [];
  const feeds = new NodeFeeds();
  let open = 0;
  const watch = createNodeWatch({
    scope: { of: () => Promise.resolve(scope) },
    feeds,
    index: new NodeIndex(pods),
    pods,
    namespaces: { subscribe: () => () => {} },
    credentials: { peek: () => undefined, subscribe: () => () => {} },
    identify: () => undefined,
    silenceMs: () => 0,
    viewAgeMs: () => 0,
    maxViewAgeMs: 30_000,
    clock: new ManualClock(),
    wholeSets: createSlots(8),
    awaitPortion: createPortions(100),
    lifetimeMs: 60_000,
    closing: AbortSignal.abort(),
  });
  const end = await watch(
    { host_ip: NODE },
    {
      signal: new AbortController().signal,
      peer: '',
      token: '',
      send: (update) => {
        open = Math.max(open, feeds.on('198.51.100.2').length);
        return sent.push(update) > 0;
      },
      drained: () => Promise.resolve(),
    },
  );
  return {
    end,
    pods: sent.flatMap(({ pod }) => (pod === undefined ? [] : [pod.uid])),
    sent: sent.length,
    open,
    left: feeds.on('198.51.100.2').length,
  };
}

describe('the watch of a node', () => {
  it('tells of the node that is proven, whatever the agent says of itself', async () => {
    const { end, pods } = await watchAs({ kind: 'node', hostIp: '198.51.100.2' });
    assert.deepEqual([end, pods], ['ended', ['there']]);
  });

  it('is known under the node that is proven for as long as it is open', async () => {
    const { open, left } = await watchAs({ kind: 'node', hostIp: '198.51.100.2' });
    assert.deepEqual([open, left], [1, 0]);
  });

  for (const [kind, expected] of [
    ['any', 'unproven'],
    ['refused', 'unproven'],
    ['unknown', 'unknown'],
  ] as const) {
    it(`tells an agent nothing whose scope is ${kind}`, async () => {
      assert.deepEqual(await watchAs({ kind }), { end: expected, pods: [], sent: 0, open: 0, left: 0 });
    });
  }
});
