import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION, plainSessions } from '#domain/attribution.ts';
import { NodeStore } from '#agent/node/store.ts';
import type { Credentials } from '#domain/credentials.ts';
import { type Identity, identityKey, identityOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import type { NodeUpdate } from '#rpc/contract.ts';
import { createTurnBudget } from '#runtime/turn-budget.ts';
import { createSlots, type Slots } from '#runtime/slots.ts';
import { NodeFeed } from '#server/node-feed.ts';
import { NodeIndex } from '#server/node-index.ts';
import type { NamespaceChange } from '#server/ports.ts';

import { ManualClock, settle } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const NODE = 'node-1';
const OTHER_NODE = 'node-2';

/** A feed of one node, an agent's store at its other end, and everything that was sent on the way. */
function feedThat(...records: readonly PodRecord[]) {
  return feedBeside(createSlots(1), ...records);
}

/** The same, and whoever has a slot is told the whole set. */
function feedBeside(wholeSets: Slots, ...records: readonly PodRecord[]) {
  const clock = new ManualClock();
  const pods = new PodCache({ logger: recordingLogger().logger });
  for (const record of records) pods.upsert(record);
  const issued = new Map<string, Credentials>();
  const denied = new Set<string>();
  const store = new NodeStore();
  const sent: NodeUpdate[] = [];
  const revoked: string[] = [];
  const gone = new AbortController();
  const closing = new AbortController();
  const namespaceListeners = new Set<(change: NamespaceChange) => void>();
  const credentialListeners = new Set<(identity: Identity) => void>();
  const reader: { isSlow: boolean; drain: () => void } = { isSlow: false, drain: () => {} };
  const subscribeTo =
    <T>(listeners: Set<T>) =>
    (listener: T) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    };
  const feed = new NodeFeed({
    node: { by: 'name', name: NODE },
    stream: {
      signal: gone.signal,
      peer: '',
      token: '',
      certificate: () => '',
      giveWay: () => {},
      send: (update) => {
        if (gone.signal.aborted) return false;
        sent.push(update);
        store.apply(update, clock);
        return !reader.isSlow;
      },
      drained: () =>
        new Promise((resolve) => {
          reader.drain = resolve;
          gone.signal.addEventListener('abort', () => resolve());
        }),
    },
    index: new NodeIndex(pods),
    pods,
    namespaces: { subscribe: subscribeTo(namespaceListeners) },
    credentials: {
      peek: (identity) => issued.get(identityKey(identity)),
      subscribe: subscribeTo(credentialListeners),
    },
    identify: (pod) =>
      pod.role === '' || denied.has(pod.namespace) ? undefined : identityOf(pod, pod.role, plainSessions('kiam')),
    noteRevoked: ({ name }) => revoked.push(name),
    silenceMs: () => 123.4,
    viewAgeMs: () => 4567.8,
    maxViewAgeMs: 30_000,
    clock,
    wholeSets,
    awaitTurn: createTurnBudget(100),
    lifetimeMs: 60_000,
    closing: closing.signal,
  });
  store.begin();
  return {
    clock,
    pods,
    store,
    sent,
    revoked,
    gone,
    closing,
    reader,
    listeners: () => namespaceListeners.size + credentialListeners.size,
    start: async (): Promise<{ readonly running: Promise<void> }> => {
      const running = feed.run();
      await settle();
      return { running };
    },
    issue: async (role: string, accessKeyId = `ASIA-${role}`): Promise<void> => {
      const identity = { roleArn: role, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION };
      const expiresAtMs = clock.now() + 3_600_000;
      issued.set(identityKey(identity), {
        accessKeyId,
        secretAccessKey: 'S',
        sessionToken: 'T',
        expiresAtMs,
        issuedAtMs: 0,
      });
      for (const listener of credentialListeners) listener(identity);
      await settle();
    },
    expire: (): void => issued.clear(),
    deny: async (namespace: string, isDenied = true): Promise<void> => {
      if (isDenied) denied.add(namespace);
      else denied.delete(namespace);
      const record = { name: namespace, permitted: '' };
      for (const listener of namespaceListeners) listener({ previous: record, current: record });
      await settle();
    },
    keyAt: (address: string): string | undefined => {
      const pod = store.find(address);
      return pod === undefined ? undefined : (store.credentialsOf(pod)?.value.accessKeyId ?? 'none');
    },
    told: (uid: string) => feed.inspect(uid),
    /** What was sent since the last look, in words. */
    news: (): readonly string[] => sent.splice(0).map(inWords),
  };
}

function inWords({ pod, gone, credentials, synced, heartbeat }: NodeUpdate): string {
  if (pod !== undefined) return `pod ${pod.uid}`;
  if (gone !== undefined) return `gone ${gone.uid}`;
  if (credentials !== undefined) return `credentials ${credentials.credentials.access_key_id}`;
  if (synced !== undefined) return 'synced';
  return heartbeat === undefined ? 'moved' : 'heartbeat';
}

const withoutHeartbeats = (news: readonly string[]): readonly string[] => news.filter((word) => word !== 'heartbeat');

const SECOND = podRecord({ uid: 'uid-2', name: 'pod-2', addresses: ['192.0.2.2'] });
const THIRD = podRecord({ uid: 'uid-3', name: 'pod-3', addresses: ['192.0.2.3'] });

describe('the feed of a node', () => {
  it('the feed of a node says the whole set, then that it was, then how the watch is', async () => {
    const node = feedThat(
      podRecord(),
      podRecord({ uid: 'elsewhere', name: 'a', addresses: ['192.0.2.9'], nodeName: OTHER_NODE }),
      podRecord({ uid: 'host', name: 'b', addresses: ['198.51.100.1'], hostNetwork: true }),
      podRecord({ uid: 'ended', name: 'c', addresses: ['192.0.2.3'], phase: 'Failed' }),
      podRecord({ uid: 'unborn', name: 'd', addresses: [] }),
      podRecord({ uid: 'plain', name: 'e', addresses: ['192.0.2.4'], role: '' }),
    );
    await node.issue('reader');
    await node.start();
    assert.deepEqual(node.sent.at(-1), { heartbeat: { silence_ms: 124, view_age_ms: 4568 } });
    assert.deepEqual(node.news(), ['credentials ASIA-reader', 'pod uid-1', 'pod plain', 'synced', 'heartbeat']);
    assert.deepEqual(['192.0.2.1', '192.0.2.4'].map(node.keyAt), ['ASIA-reader', 'none']);
    node.gone.abort();
  });

  it('the feed of a node sends credentials once for all pods that share them', async () => {
    const node = feedThat(podRecord(), SECOND);
    await node.issue('reader');
    await node.start();
    assert.deepEqual(node.news(), ['credentials ASIA-reader', 'pod uid-1', 'pod uid-2', 'synced', 'heartbeat']);
    await node.issue('reader', 'ASIA-renewed');
    assert.deepEqual(withoutHeartbeats(node.news()), ['credentials ASIA-renewed']);
    assert.deepEqual(['192.0.2.1', '192.0.2.2'].map(node.keyAt), ['ASIA-renewed', 'ASIA-renewed']);
    node.gone.abort();
  });

  it('the feed of a node tells of a pod at once, and of its credentials as soon as there are some', async () => {
    const node = feedThat();
    await node.start();
    node.pods.upsert(podRecord());
    await settle();
    assert.equal(node.keyAt('192.0.2.1'), 'none');
    await node.issue('writer');
    assert.equal(node.keyAt('192.0.2.1'), 'none');
    await node.issue('reader');
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-reader');
    assert.deepEqual(withoutHeartbeats(node.news()), ['synced', 'pod uid-1', 'credentials ASIA-reader']);
    node.gone.abort();
  });

  it('the feed of a node tells the identity of a pod before it has credentials, so that the agent keeps those of another replica', async () => {
    const before = feedThat(podRecord(), SECOND, { ...THIRD, role: 'writer' });
    await before.issue('reader');
    await before.issue('writer');
    await before.start();
    const keys = (): readonly (string | undefined)[] => ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(before.keyAt);
    assert.deepEqual(keys(), ['ASIA-reader', 'ASIA-reader', 'ASIA-writer']);
    before.gone.abort();

    const fresh = feedThat(podRecord(), SECOND, { ...THIRD, role: 'other' });
    before.store.begin();
    await fresh.start();
    for (const update of fresh.sent) before.store.apply(update, before.clock);
    assert.deepEqual(fresh.news(), ['pod uid-1', 'pod uid-2', 'pod uid-3', 'synced', 'heartbeat']);
    assert.deepEqual(keys(), ['ASIA-reader', 'ASIA-reader', 'none']);
    await fresh.issue('reader', 'ASIA-renewed');
    for (const update of fresh.sent) before.store.apply(update, before.clock);
    assert.deepEqual(withoutHeartbeats(fresh.news()), ['credentials ASIA-renewed']);
    assert.deepEqual(keys(), ['ASIA-renewed', 'ASIA-renewed', 'none']);
    fresh.gone.abort();
  });

  it('the feed of a node gives an identity the name that every other version of the server gives it, without what it is made of', async () => {
    const node = feedThat(podRecord({ role: 'arn:aws:iam::1:role/reader', externalId: 'half-a-secret' }));
    await node.start();
    const [binding] = node.sent;
    assert.equal(binding?.pod?.identity, 'lpzOi8xDZLJst29CRBo4FhCkw5aID7TAZRinGzFlFCA');
    node.gone.abort();
  });

  const ends: readonly (readonly [string, (node: ReturnType<typeof feedThat>) => unknown])[] = [
    ['is deleted', (node) => node.pods.remove('uid-1')],
    ['ends', (node) => node.pods.upsert(podRecord({ phase: 'Succeeded', resourceVersion: '2' }))],
    ['loses its address', (node) => node.pods.upsert(podRecord({ addresses: [], resourceVersion: '2' }))],
    ['moves to another node', (node) => node.pods.upsert(podRecord({ nodeName: OTHER_NODE, resourceVersion: '2' }))],
    [
      'shares its address with another of the node',
      (node) => node.pods.upsert({ ...SECOND, addresses: ['192.0.2.1'] }),
    ],
  ];
  for (const [what, happens] of ends) {
    it(`the feed of a node takes a pod back that ${what}`, async () => {
      const node = feedThat(podRecord());
      await node.issue('reader');
      await node.start();
      node.news();
      happens(node);
      await settle();
      assert.deepEqual(withoutHeartbeats(node.news()), ['gone uid-1']);
      assert.equal(node.store.size, 0);
      node.gone.abort();
    });
  }

  it('the feed of a node follows an annotation, and gives what the pod had before no more', async () => {
    const node = feedThat(podRecord());
    await node.issue('reader');
    await node.start();
    node.pods.upsert(podRecord({ role: 'writer', resourceVersion: '2' }));
    await settle();
    assert.equal(node.keyAt('192.0.2.1'), 'none');
    assert.equal(node.store.find('192.0.2.1')?.role, 'writer');
    await node.issue('writer');
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-writer');
    // The books of both sides agree: the former identity has to be sent again.
    node.news();
    node.pods.upsert(podRecord({ role: 'reader', resourceVersion: '3' }));
    await settle();
    assert.deepEqual(withoutHeartbeats(node.news()), ['credentials ASIA-reader', 'pod uid-1']);
    node.gone.abort();
  });

  it('the feed of a node follows what namespaces permit, for their own pods alone', async () => {
    const node = feedThat(podRecord(), { ...SECOND, namespace: 'other' });
    await node.issue('reader');
    await node.start();
    node.news();
    await node.deny('default');
    assert.deepEqual(withoutHeartbeats(node.news()), ['pod uid-1']);
    assert.deepEqual(['192.0.2.1', '192.0.2.2'].map(node.keyAt), ['none', 'ASIA-reader']);
    assert.deepEqual(node.revoked, [podRecord().name], 'a pod that had its role is noted');
    await node.deny('default', false);
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-reader');
    await node.deny('nobody');
    assert.deepEqual(node.revoked, [podRecord().name], 'once');
    node.gone.abort();
  });

  it('the feed of a node holds its own pod, whatever pods of other nodes claim its address, also while its own is being deleted', async () => {
    const node = feedThat(podRecord(), podRecord({ uid: 'rival', name: 'rival', nodeName: OTHER_NODE }));
    await node.issue('reader');
    await node.start();
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-reader');
    node.news();
    node.pods.upsert(podRecord({ terminating: true, resourceVersion: '2' }));
    node.pods.upsert(
      podRecord({ uid: 'rival', name: 'rival', nodeName: OTHER_NODE, phase: 'x', resourceVersion: '3' }),
    );
    await settle();
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-reader');
    assert.ok(!node.news().some((update) => update.includes('rival')));
    node.gone.abort();
  });

  it('the feed of a node of two pods of its own with one address holds none, or the one that stays', async () => {
    const node = feedThat(podRecord(), podRecord({ uid: 'twin', name: 'twin', terminating: true }));
    await node.issue('reader');
    await node.start();
    assert.equal(node.store.find('192.0.2.1')?.uid, 'uid-1');
    node.pods.upsert(podRecord({ terminating: true, resourceVersion: '2' }));
    await settle();
    assert.equal(node.store.find('192.0.2.1'), undefined);
    node.gone.abort();
  });

  it('the feed of a node sends a slow agent the newest state and no history', async () => {
    const node = feedThat(podRecord(), SECOND);
    await node.issue('reader');
    await node.start();
    node.news();
    node.reader.isSlow = true;
    node.pods.upsert(podRecord({ role: 'v-first', resourceVersion: '2' }));
    await settle();
    for (let version = 3; version < 1000; version += 1) {
      node.pods.upsert(podRecord({ role: `v-${version}`, resourceVersion: String(version) }));
      node.pods.upsert({ ...SECOND, role: `v-${version}`, resourceVersion: String(version) });
      await node.issue('reader', `ASIA-${version}`);
    }
    assert.deepEqual(node.news(), ['pod uid-1']);
    node.reader.isSlow = false;
    node.reader.drain();
    await settle();
    assert.deepEqual(withoutHeartbeats(node.news()), ['pod uid-1', 'pod uid-2']);
    assert.deepEqual(
      ['192.0.2.1', '192.0.2.2'].map((address) => node.store.find(address)?.role),
      ['v-999', 'v-999'],
    );
    node.gone.abort();
  });

  it('the feed of a node looks at a pod again after the agent has taken its time over the credentials', async () => {
    const happenings: readonly ((node: ReturnType<typeof feedThat>) => unknown)[] = [
      (node) => node.pods.remove('uid-1'),
      (node) => node.pods.upsert(podRecord({ role: '', resourceVersion: '2' })),
      (node) => node.deny('default'),
      (node) => node.pods.upsert({ ...SECOND, addresses: ['192.0.2.1'] }),
    ];
    for (const happens of happenings) {
      const node = feedThat();
      await node.issue('reader');
      await node.start();
      node.news();
      node.reader.isSlow = true;
      node.pods.upsert(podRecord());
      await settle();
      assert.deepEqual(withoutHeartbeats(node.news()), ['credentials ASIA-reader']);
      await happens(node);
      node.reader.isSlow = false;
      node.reader.drain();
      await settle();
      assert.notEqual(node.keyAt('192.0.2.1'), 'ASIA-reader', happens.toString());
      node.gone.abort();
    }
  });

  it('the feed of a node does not lose the renewal that comes while the agent reads the credentials before', async () => {
    const node = feedThat();
    await node.issue('reader');
    await node.start();
    node.reader.isSlow = true;
    node.pods.upsert(podRecord());
    await settle();
    await node.issue('reader', 'ASIA-renewed');
    node.reader.isSlow = false;
    node.reader.drain();
    await settle();
    assert.equal(node.keyAt('192.0.2.1'), 'ASIA-renewed');
    node.gone.abort();
  });

  it('the feed of a node says nothing of credentials that have run out, and sends the next', async () => {
    const node = feedThat(podRecord());
    await node.issue('reader');
    await node.start();
    node.expire();
    node.pods.upsert(podRecord({ uid: 'uid-3', name: 'pod-3', addresses: ['192.0.2.3'] }));
    await settle();
    node.news();
    await node.issue('reader', 'ASIA-next');
    assert.deepEqual(['192.0.2.1', '192.0.2.3'].map(node.keyAt), ['ASIA-next', 'ASIA-next']);
    assert.deepEqual(withoutHeartbeats(node.news()), ['credentials ASIA-next']);
    node.gone.abort();
  });

  it('the feed of a node can be looked at: what it has told of a pod, and what waits for the agent to read on', async () => {
    const node = feedThat(podRecord(), { ...SECOND, role: '' });
    const key = identityKey({ roleArn: 'reader', sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION });
    assert.deepEqual([node.told('uid-1').isSynced, node.told('uid-1').identityKey], [false, undefined]);
    await node.issue('reader');
    await node.start();
    await node.clock.advance(5000);
    const told = {
      peer: '',
      openForMs: 5000,
      isSynced: true,
      isBehind: false,
      isChanging: false,
      identityKey: key,
      hasCredentials: true,
    };
    const nothing = { identityKey: '', hasCredentials: false };
    assert.deepEqual(node.told('uid-1'), told);
    assert.deepEqual(node.told('uid-2'), { ...told, ...nothing });
    assert.deepEqual(node.told('uid-9'), { ...told, ...nothing, identityKey: undefined });
    node.reader.isSlow = true;
    await node.issue('reader', 'ASIA-renewed');
    assert.deepEqual(node.told('uid-1'), { ...told, isBehind: true });
    await node.issue('reader', 'ASIA-again');
    node.pods.upsert({ ...SECOND, role: 'reader', resourceVersion: '2' });
    assert.deepEqual(node.told('uid-1'), { ...told, isBehind: true, isChanging: true });
    assert.deepEqual(node.told('uid-2'), { ...told, isBehind: true, isChanging: true, ...nothing });
    node.reader.isSlow = false;
    node.reader.drain();
    await settle();
    assert.deepEqual([node.told('uid-1'), node.told('uid-2')], [told, told]);
    node.pods.remove('uid-1');
    await settle();
    assert.equal(node.told('uid-1').identityKey, undefined);
    node.gone.abort();
  });

  it('the feed of a node is heard every two seconds', async () => {
    const node = feedThat();
    await node.start();
    node.news();
    await node.clock.advance(10_000);
    assert.deepEqual(
      node.news(),
      Array.from({ length: 5 }, () => 'heartbeat'),
    );
    node.gone.abort();
  });

  it('the feed of a node sends the agent on before its time is up, and when the server stops', async () => {
    for (const stops of [true, false]) {
      const node = feedThat(podRecord());
      const { running } = await node.start();
      node.news();
      if (stops) node.closing.abort();
      else await node.clock.advance(60_000);
      await running;
      assert.equal(node.news().at(-1), 'moved');
      assert.equal(node.listeners(), 0);
    }
  });

  it('the feed of a node ends with the agent, in a wait for it as well', async () => {
    for (const isSlow of [true, false]) {
      const node = feedThat(podRecord(), SECOND);
      node.reader.isSlow = isSlow;
      await node.issue('reader');
      const { running } = await node.start();
      node.gone.abort();
      await running;
      assert.equal(node.listeners(), 0);
    }
  });

  it('the feed of a node waits for its turn to tell the whole set, and the agent hears meanwhile that the stream lives', async () => {
    const wholeSets = createSlots(1);
    let endOther = (): void => {};
    void wholeSets.run(() => new Promise<void>((resolve) => (endOther = resolve)));
    const node = feedBeside(wholeSets, podRecord());
    await node.start();
    assert.equal(wholeSets.waiting, 1);
    await node.clock.advance(5000);
    assert.deepEqual(node.news(), ['heartbeat', 'heartbeat']);
    endOther();
    await settle();
    assert.deepEqual(node.news(), ['pod uid-1', 'synced', 'heartbeat']);
    assert.equal(wholeSets.waiting, 0);
    node.gone.abort();
  });

  it('the feed of a node gives its turn on when its agent reads slowly, goes, or has been told', async () => {
    for (const { isSlow, leaves, afterMs } of [
      { isSlow: true, leaves: false, afterMs: 500 },
      { isSlow: true, leaves: true, afterMs: 0 },
      { isSlow: false, leaves: false, afterMs: 0 },
    ]) {
      const wholeSets = createSlots(1);
      const node = feedBeside(wholeSets, podRecord());
      node.reader.isSlow = isSlow;
      await node.start();
      if (leaves) node.gone.abort();
      await node.clock.advance(afterMs - 1);
      let isFree = false;
      void wholeSets.run(() => {
        isFree = true;
        return Promise.resolve();
      });
      await settle();
      assert.equal(isFree, afterMs === 0);
      await node.clock.advance(1);
      assert.equal(isFree, true);
      node.gone.abort();
    }
  });

  it('the feed of a node wants no turn any more when its agent goes or the server stops while it waits', async () => {
    for (const end of ['gone', 'closing'] as const) {
      const wholeSets = createSlots(1);
      void wholeSets.run(() => new Promise<void>(() => {}));
      const node = feedBeside(wholeSets, podRecord());
      const { running } = await node.start();
      node[end].abort();
      await running;
      assert.equal(node.news().at(-1), end === 'gone' ? undefined : 'moved');
    }
  });

  it('the feed of a node tells of many pods in portions, and leaves the event loop to others in between', async () => {
    const many = Array.from({ length: 1000 }, (_, index) =>
      podRecord({ uid: `uid-${index}`, name: `pod-${index}`, addresses: [`192.0.${index >> 8}.${index & 255}`] }),
    );
    const node = feedThat(...many);
    await node.start();
    const soon = node.sent.length;
    assert.ok(soon > 0 && soon <= 500, `${soon} updates in few turns`);
    for (let round = 0; round < 4; round += 1) await settle();
    assert.equal(node.news().at(-1), 'heartbeat');
    assert.equal(node.store.size, 1000);
    node.gone.abort();
  });
});
