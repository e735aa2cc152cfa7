import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { PodCache } from '#kubernetes/pod-cache.ts';
import { NodeIndex } from '#server/node-index.ts';

import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NODE_1 = '198.51.100.1';
const NODE_2 = '198.51.100.2';

function indexThat() {
  const pods = new PodCache({ logger: recordingLogger().logger });
  pods.upsert(podRecord());
  const index = new NodeIndex(pods);
  const told: string[] = [];
  const ends = [NODE_1, NODE_2].map((node) => index.subscribe(node, (uid) => told.push(`${node} ${uid}`)));
  return { pods, index, told, ends };
}

describe('the index of nodes', () => {
  it('knows the pods that were there before it', () => {
    const { index } = indexThat();
    assert.deepEqual([...index.podsOn(NODE_1)], ['uid-1']);
    assert.deepEqual([index.isNode(NODE_1), index.isNode(NODE_2), index.isNode('')], [true, false, false]);
  });

  it('follows a pod from node to node and to its end, and tells both', () => {
    const { pods, index, told } = indexThat();
    pods.upsert(podRecord({ hostIp: NODE_2, resourceVersion: '2' }));
    assert.deepEqual([index.isNode(NODE_1), [...index.podsOn(NODE_2)]], [false, ['uid-1']]);
    assert.deepEqual(new Set(told), new Set([`${NODE_1} uid-1`, `${NODE_2} uid-1`]));
    pods.remove('uid-1');
    assert.deepEqual([index.isNode(NODE_2), [...index.podsOn(NODE_2)]], [false, []]);
  });

  it('takes a pod without a node for nobody’s', () => {
    const { pods, index } = indexThat();
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2', hostIp: '', addresses: [] }));
    assert.equal(index.isNode(''), false);
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2', hostIp: NODE_2, addresses: [], resourceVersion: '2' }));
    assert.deepEqual([...index.podsOn(NODE_2)], ['uid-2']);
  });

  it('tells a node of a claim to an address of its pods that is made or given up elsewhere', () => {
    const { pods, told } = indexThat();
    const rival = podRecord({ uid: 'uid-2', name: 'pod-2', hostIp: NODE_2 });
    const steps: readonly (() => void)[] = [
      () => pods.upsert(rival),
      () => pods.upsert({ ...rival, phase: 'Failed', resourceVersion: '2' }),
      () => pods.upsert(podRecord({ uid: 'uid-3', name: 'pod-3', hostIp: NODE_2 })),
      () => pods.remove('uid-3'),
    ];
    for (const step of steps) {
      told.length = 0;
      step();
      assert.ok(told.includes(`${NODE_1} uid-1`), step.toString());
    }
  });

  it('tells nobody who has ended, and leaves the others their part', () => {
    const { pods, index, told, ends } = indexThat();
    const other: string[] = [];
    index.subscribe(NODE_1, (uid) => other.push(uid));
    for (const end of ends) end();
    for (const end of ends) end();
    pods.remove('uid-1');
    assert.deepEqual(told, []);
    assert.deepEqual(other, ['uid-1']);
    index.close();
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2' }));
    assert.equal(index.isNode(NODE_1), false);
  });
});
