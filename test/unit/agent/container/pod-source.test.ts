import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createPodSource } from '#agent/container/pod-source.ts';
import type { PodClaims } from '#agent/container/token-verifier.ts';
import { NodeStore } from '#agent/node/store.ts';
import type { PodBinding } from '#rpc/contract.ts';
import { failed } from '#domain/failure.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { NO_MEMORY } from '../../../support/no-memory.ts';
import { credentialsUpdate, podClaims, podUpdate } from '../node/updates.ts';

const AT_MS = Date.UTC(2026, 0, 1);
const NODE = '198.51.100.1';
const POD = '192.0.2.1';

/** A node with one pod, as a server told of it. */
function nodeWith(binding: Partial<PodBinding>) {
  const clock = new ManualClock(AT_MS);
  const store = new NodeStore();
  const tell = (fields: Partial<PodBinding>): void => store.apply(podUpdate({ ...binding, ...fields }), clock);
  store.apply(credentialsUpdate('identity-1', AT_MS + 3_600_000), clock);
  tell({});
  const refused = () => Promise.resolve(failed('forbidden', 'a test'));
  const source = createPodSource({
    source: {
      ...NO_MEMORY,
      knownRole: ({ address }) => store.find(address),
      knownCredentials: ({ address }) => {
        const pod = store.find(address);
        return pod && store.credentialsOf(pod)?.value;
      },
      podRole: refused,
      podCredentials: refused,
      serverHealth: refused,
    },
    store,
    stream: { isLive: true, silenceMs: () => 0 },
    clock,
    serveStaleMs: 0,
    isNodeAddress: (address) => address === NODE,
  });
  const client = (address: string) => ({
    address,
    evidence: { kind: 'none', reason: 'a test' } as const,
    acceptedMs: 0,
  });
  return {
    tell,
    clock,
    isServed: (address: string, claims: PodClaims) => source.known(client(address), claims) !== undefined,
    answerTo: async (address: string, claims: PodClaims) => {
      const waiting = new AbortController();
      waiting.abort();
      const outcome = await source.find(client(address), claims, waiting.signal);
      return outcome.ok ? 'served' : outcome.failure.kind;
    },
    begin: (address: string, claims: PodClaims) => source.find(client(address), claims, new AbortController().signal),
  };
}

const KINDS = [
  { what: 'a pod', binding: {}, from: POD },
  { what: 'a pod with the host network', binding: { host_network: true, addresses: [] }, from: NODE },
] as const;

const OTHERWISE: readonly (readonly [string, Partial<PodClaims>])[] = [
  ['of another name', { name: 'other' }],
  ['of another namespace', { namespace: 'other' }],
  ['of another ServiceAccount', { serviceAccount: 'other' }],
  ['of an earlier ServiceAccount of that name', { serviceAccountUid: 'earlier' }],
  ['of another node', { nodeName: 'node-2' }],
];

for (const { what, binding, from } of KINDS) {
  test(`${what} is served by a token that says of it what the servers say`, () => {
    assert.equal(nodeWith(binding).isServed(from, podClaims()), true);
  });

  for (const [how, claims] of OTHERWISE) {
    test(`${what} is refused with a token for its UID ${how}`, async () => {
      const node = nodeWith(binding);
      assert.equal(node.isServed(from, podClaims(claims)), false);
      assert.equal(await node.answerTo(from, podClaims(claims)), 'forbidden');
    });
  }

  test(`${what} is served where the token names no node, or the servers know no UID of its ServiceAccount`, () => {
    const node = nodeWith(binding);
    assert.equal(node.isServed(from, podClaims({ nodeName: '' })), true);
    node.tell({ service_account_uid: '' });
    assert.equal(node.isServed(from, podClaims({ serviceAccountUid: 'whichever' })), true);
  });
}

test('a token of a new ServiceAccount is waited for until the servers know of it', async () => {
  const node = nodeWith(KINDS[1].binding);
  const claims = podClaims({ serviceAccountUid: 'made-again' });
  const answer = node.begin(NODE, claims);
  await node.clock.advance(100);
  node.tell({ service_account_uid: 'made-again' });
  await node.clock.advance(100);
  assert.equal((await answer).ok, true);
});

const THIEVES: readonly (readonly [string, string])[] = [
  ['a pod of this node', '192.0.2.2'],
  ['a client whose address nobody has', '203.0.113.1'],
];
for (const [who, from] of THIEVES) {
  for (const { what, binding } of KINDS) {
    test(`${who} is refused with the token of ${what}`, async () => {
      const node = nodeWith(binding);
      node.tell({ uid: 'uid-2', name: 'other', addresses: ['192.0.2.2'], host_network: false });
      assert.equal(node.isServed(from, podClaims()), false);
      assert.equal(await node.answerTo(from, podClaims()), 'forbidden');
    });
  }
}

test('a program of the node itself is refused with the token of a pod that has an address of its own', async () => {
  const node = nodeWith({});
  assert.equal(node.isServed(NODE, podClaims()), false);
  assert.equal(await node.answerTo(NODE, podClaims()), 'forbidden');
});

test('the token of a pod of another node is refused, whoever has it', async () => {
  const node = nodeWith({});
  for (const from of [POD, NODE, '203.0.113.1']) {
    const claims = podClaims({ uid: 'uid-of-elsewhere', nodeName: 'node-2' });
    assert.equal(node.isServed(from, claims), false);
    assert.notEqual(await node.answerTo(from, claims), 'served');
  }
});
