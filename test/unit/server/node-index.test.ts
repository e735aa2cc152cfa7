import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { PodCache } from '#kubernetes/pod-cache.ts';
import { NodeIndex } from '#server/node-index.ts';

import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NODE_1 = 'node-1';
const NODE_2 = 'node-2';
const ADDRESS_1 = '198.51.100.1';
const called = (name: string) => ({ by: 'name', name }) as const;
const at = (address: string) => ({ by: 'address', address }) as const;

function indexThat() {
  const pods = new PodCache({ logger: recordingLogger().logger });
  pods.upsert(podRecord());
  const index = new NodeIndex(pods);
  const told: string[] = [];
  const ends = [NODE_1, NODE_2].map((node) => index.subscribe(called(node), (uid) => told.push(`${node} ${uid}`)));
  return { pods, index, told, ends };
}

describe('the index of nodes', () => {
  it('the index of nodes knows the pods that were there before it', () => {
    const { index } = indexThat();
    assert.deepEqual([...index.podsOn(called(NODE_1))], ['uid-1']);
    assert.deepEqual([index.isNode(ADDRESS_1), index.isNode('198.51.100.2'), index.isNode('')], [true, false, false]);
  });

  it('the index of nodes follows a pod from node to node and to its end, and tells both', () => {
    const { pods, index, told } = indexThat();
    pods.upsert(podRecord({ nodeName: NODE_2, resourceVersion: '2' }));
    assert.deepEqual([[...index.podsOn(called(NODE_1))], [...index.podsOn(called(NODE_2))]], [[], ['uid-1']]);
    assert.deepEqual(new Set(told), new Set([`${NODE_1} uid-1`, `${NODE_2} uid-1`]));
    pods.remove('uid-1');
    assert.deepEqual([index.isNode(ADDRESS_1), [...index.podsOn(called(NODE_2))]], [false, []]);
  });

  it('the index of nodes takes a pod without a node for nobody’s', () => {
    const { pods, index } = indexThat();
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2', nodeName: '', hostIps: [], addresses: [] }));
    assert.equal(index.isNode(''), false);
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2', nodeName: NODE_2, addresses: [], resourceVersion: '2' }));
    assert.deepEqual([...index.podsOn(called(NODE_2))], ['uid-2']);
  });

  it('the index of nodes knows a node by each of its addresses, and a pod there by none of its former ones', () => {
    const { pods, index } = indexThat();
    pods.upsert(podRecord({ hostIps: [ADDRESS_1, '2001:db8::a'], resourceVersion: '2' }));
    assert.deepEqual([...index.podsOn(at('2001:db8::a'))], ['uid-1']);
    pods.upsert(podRecord({ hostIps: ['2001:db8::a'], resourceVersion: '3' }));
    assert.deepEqual([index.isNode(ADDRESS_1), index.isNode('2001:db8::a')], [false, true]);
    assert.deepEqual([...index.podsOn(called(ADDRESS_1))], [], 'an address is no name');
  });

  it('the index of nodes tells a node of a claim to an address of its pods that is made or given up there, and of none elsewhere', () => {
    const { pods, told } = indexThat();
    for (const nodeName of [NODE_1, NODE_2]) {
      const rival = podRecord({ uid: `rival-${nodeName}`, name: `rival-${nodeName}`, nodeName });
      const steps: readonly (() => void)[] = [
        () => pods.upsert(rival),
        () => pods.upsert({ ...rival, phase: 'Failed', resourceVersion: '2' }),
        () => pods.upsert({ ...rival, uid: `${rival.uid}-2`, name: `${rival.name}-2` }),
        () => pods.remove(`${rival.uid}-2`),
      ];
      for (const step of steps) {
        told.length = 0;
        step();
        assert.equal(told.includes(`${NODE_1} uid-1`), nodeName === NODE_1, step.toString());
      }
    }
  });

  it('the index of nodes tells nobody who has ended, and leaves the others their part', () => {
    const { pods, index, told, ends } = indexThat();
    const other: string[] = [];
    index.subscribe(called(NODE_1), (uid) => other.push(uid));
    for (const end of ends) end();
    for (const end of ends) end();
    pods.remove('uid-1');
    assert.deepEqual(told, []);
    assert.deepEqual(other, ['uid-1']);
    index.close();
    pods.upsert(podRecord({ uid: 'uid-2', name: 'pod-2' }));
    assert.equal(index.isNode(ADDRESS_1), false);
  });
});
