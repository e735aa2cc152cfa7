import assert from 'node:assert/strict';

import fc from 'fast-check';

import { createPodSource } from '#agent/container/pod-source.ts';
import type { PodClaims } from '#agent/container/token-verifier.ts';
import { NodeStore } from '#agent/node/store.ts';
import { failed } from '#domain/failure.ts';
import type { PodBinding } from '#rpc/contract.ts';

import { ManualClock } from '../support/manual-clock.ts';
import { NO_MEMORY } from '../support/no-memory.ts';
import { credentialsUpdate, podClaims, podUpdate } from '../unit/agent/node/updates.ts';

const NODE = '198.51.100.1';
const NODE_NAMES = ['node-1', 'node-2'];
const clock = new ManualClock();
const never = () => Promise.resolve(failed('forbidden', 'a test'));

/** Pods of this node, and one of another node that no server tells of here. */
const pods: readonly Partial<PodBinding>[] = [
  { uid: 'a', name: 'a', addresses: ['192.0.2.1'] },
  { uid: 'b', name: 'b', addresses: ['192.0.2.2'], namespace: 'other', service_account_uid: '' },
  { uid: 'c', name: 'c', addresses: ['192.0.2.3', '192.0.2.4'], service_account: 'admin' },
  { uid: 'd', name: 'd', addresses: [], host_network: true },
  { uid: 'e', name: 'e', addresses: [], host_network: true, namespace: 'other' },
];
const store = new NodeStore();
for (const pod of pods) {
  const identity = `of-${pod.uid}`;
  store.apply(credentialsUpdate(identity, clock.now() + 3_600_000), clock);
  store.apply(podUpdate({ ...pod, identity }), clock);
}
const source = createPodSource({
  source: {
    ...NO_MEMORY,
    knownCredentials: ({ address }) => {
      const pod = store.find(address);
      return pod && store.credentialsOf(pod)?.value;
    },
    podRole: never,
    podCredentials: never,
    serverHealth: never,
  },
  store,
  stream: { isLive: true, silenceMs: () => 0 },
  clock,
  serveStaleMs: 0,
  isNodeAddress: (address) => address === NODE,
});

const claims: fc.Arbitrary<PodClaims> = fc
  .record({
    uid: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'elsewhere', '__proto__', ''),
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    namespace: fc.constantFrom('team', 'other'),
    serviceAccount: fc.constantFrom('default', 'admin'),
    serviceAccountUid: fc.constantFrom('uid-of-account', 'earlier'),
    nodeName: fc.constantFrom(...NODE_NAMES, ''),
  })
  .chain((mixed) =>
    // Half of them say of a pod what is so, but for one thing at most.
    fc.constantFrom(undefined, ...pods).chain((pod) => {
      if (pod === undefined) return fc.constant(podClaims(mixed));
      const { uid = '', name = '', namespace = 'team', service_account: serviceAccount = 'default' } = pod;
      return fc
        .constantFrom({}, ...Object.entries(mixed).map(([field, value]) => ({ [field]: value })))
        .map((change) => podClaims({ uid, name, namespace, serviceAccount, ...change }));
    }),
  );

const address = fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '203.0.113.1', NODE);

/** Whose credentials a connection may get with a token that says this; the rule in other words. */
function holder(token: PodClaims, from: string): string | undefined {
  const pod = pods.find(({ uid }) => uid === token.uid);
  if (pod === undefined) return undefined;
  const { namespace = 'team', service_account = 'default', service_account_uid = 'uid-of-account' } = pod;
  const isSame =
    [pod.name, namespace, service_account].join() === [token.name, token.namespace, token.serviceAccount].join() &&
    (service_account_uid === '' || token.serviceAccountUid === service_account_uid) &&
    token.nodeName !== 'node-2';
  const isThere = pod.host_network === true ? from === NODE : pod.addresses?.includes(from) === true;
  return isSame && isThere ? `ASIA-of-${pod.uid}` : undefined;
}

export const tokenHolders = fc.property(claims, address, (token, from) => {
  const client = { address: from, evidence: { kind: 'none', reason: 'a test' }, acceptedMs: 0 } as const;
  assert.equal(source.known(client, token)?.credentials.accessKeyId, holder(token, from));
});
