import assert from 'node:assert/strict';
import { plainSessions } from '#domain/attribution.ts';
import type { CredentialOutcome } from '#domain/credentials.ts';
import { test } from 'node:test';
import type { Identity } from '#domain/identity.ts';
import { identityKey, identityOf } from '#domain/identity.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import { isOnNode, type NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { NodeListener } from '#server/prefetched-nodes.ts';
import type { CredentialCache, LiveIdentity, NamespaceChange, PodChange, Urgency } from '#server/ports.ts';
import { Prefetch, type PrefetchOptions } from '#server/prefetch.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

/** Pods and namespaces that a test changes by hand. */
class FakeCluster {
  readonly podsByUid = new Map<string, PodRecord>();
  readonly namespaces = new Map<string, NamespaceRecord>([['default', { name: 'default', permitted: '.*' }]]);
  readonly podListeners = new Set<(change: PodChange) => void>();
  readonly namespaceListeners = new Set<(change: NamespaceChange) => void>();

  readonly pods = {
    byUid: (uid: string) => this.podsByUid.get(uid),
    pods: () => this.podsByUid.values(),
    subscribe: (listener: (change: PodChange) => void) => {
      this.podListeners.add(listener);
      return () => this.podListeners.delete(listener);
    },
  };

  readonly namespaceCache = {
    subscribe: (listener: (change: NamespaceChange) => void) => {
      this.namespaceListeners.add(listener);
      return () => this.namespaceListeners.delete(listener);
    },
  };

  /** The nodes whose streams are elsewhere, by name. */
  readonly elsewhere = new Set<string>();
  readonly nodeListeners = new Set<NodeListener>();

  readonly nodes = {
    has: ({ nodeName }: Pick<PodRecord, 'nodeName'>) => !this.elsewhere.has(nodeName),
    subscribe: (listener: NodeListener) => {
      this.nodeListeners.add(listener);
      return () => this.nodeListeners.delete(listener);
    },
  };

  podsOn(node: NodeId): ReadonlySet<string> {
    const pods = [...this.podsByUid.values()].filter((pod) => isOnNode(pod, node));
    return new Set(pods.map(({ uid }) => uid));
  }

  move(nodeName: string, where: 'here' | 'elsewhere'): void {
    if (where === 'here') this.elsewhere.delete(nodeName);
    else this.elsewhere.add(nodeName);
    for (const listener of this.nodeListeners) listener({ by: 'name', name: nodeName });
  }

  put(fields: Partial<PodRecord>): void {
    const current = podRecord(fields);
    const previous = this.podsByUid.get(current.uid);
    this.podsByUid.set(current.uid, current);
    for (const listener of this.podListeners) listener({ previous, current });
  }

  remove(uid: string): void {
    const previous = this.podsByUid.get(uid);
    this.podsByUid.delete(uid);
    for (const listener of this.podListeners) listener({ previous, current: undefined });
  }

  permit(name: string, permitted: string): void {
    const previous = this.namespaces.get(name);
    const current = { name, permitted };
    this.namespaces.set(name, current);
    for (const listener of this.namespaceListeners) listener({ previous, current });
  }

  /** A stand-in for policy: the expression must occur in the role's name, `.*` occurs in all. */
  readonly identify = (pod: PodRecord): Identity | undefined => {
    const permitted = this.namespaces.get(pod.namespace)?.permitted ?? '';
    if (permitted === '' || (permitted !== '.*' && !pod.role.includes(permitted))) return undefined;
    return identityOf(pod, `arn:aws:iam::1:role/${pod.role}`, plainSessions('kiam'));
  };
}

/** A cache whose fetches a test ends by hand. */
class FakeCredentials implements Pick<CredentialCache, 'get' | 'retain' | 'forgive'> {
  readonly asked: string[] = [];
  readonly forgiven: string[] = [];
  readonly running = new Map<string, (outcome: CredentialOutcome) => void>();
  retained: readonly string[] | undefined;
  kept: readonly string[] = [];
  mostRunning = 0;
  answersAtOnce = false;

  get(identity: Identity, urgency: Urgency): Promise<CredentialOutcome> {
    assert.equal(urgency, 'prefetch');
    this.asked.push(identity.roleArn);
    if (this.answersAtOnce) return Promise.resolve(FAILED);
    return new Promise((resolve) => {
      this.running.set(identityKey(identity), resolve);
      this.mostRunning = Math.max(this.mostRunning, this.running.size);
    });
  }

  retain(identities: Iterable<LiveIdentity>): void {
    const all = [...identities];
    this.retained = all.filter(({ isRenewed }) => isRenewed).map(({ identity }) => identity.roleArn);
    this.kept = all.filter(({ isRenewed }) => !isRenewed).map(({ identity }) => identity.roleArn);
  }

  forgive(identity: Identity): void {
    this.forgiven.push(identity.roleArn);
  }

  async finishAll(): Promise<void> {
    await settle();
    while (this.running.size > 0) {
      for (const [key, resolve] of this.running) {
        this.running.delete(key);
        resolve(FAILED);
      }
      await settle();
    }
  }
}

const FAILED: CredentialOutcome = { ok: false, failure: { kind: 'sts-unavailable', message: 'away' }, detail: '' };

function world(options: Partial<PrefetchOptions> = {}, prepare: (cluster: FakeCluster) => void = () => {}) {
  const cluster = new FakeCluster();
  prepare(cluster);
  const credentials = new FakeCredentials();
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  const { pods, namespaceCache: namespaces, identify } = cluster;
  const nodes = cluster.nodes;
  const prefetch = new Prefetch({
    pods,
    namespaces,
    credentials,
    identify,
    nodes,
    index: cluster,
    fetchers: 8,
    clock,
    logger,
    ...options,
  });
  return { cluster, credentials, clock, lines, prefetch, [Symbol.dispose]: () => prefetch.close() };
}

const arn = (name: string): string => `arn:aws:iam::1:role/${name}`;

test('pods that are there at the start are fetched for at once, each identity once', async () => {
  using it = world({}, (cluster) => {
    cluster.put({ uid: '1', role: 'a' });
    cluster.put({ uid: '2', role: 'a' });
    cluster.put({ uid: '3', role: 'b' });
  });
  await settle();
  assert.deepEqual(it.credentials.asked, [arn('a'), arn('b')]);
  assert.equal(it.lines.filter(({ level, message }) => level === 'debug' && message === 'announced pod').length, 3);
});

test('what changes in a pod or its namespace is fetched for, and nothing else', async () => {
  using it = world();
  const { cluster, credentials } = it;
  credentials.answersAtOnce = true;
  const steps: readonly (readonly [string, () => void, readonly string[]])[] = [
    ['a pod without an address', () => cluster.put({ role: 'a', addresses: [], phase: 'Pending' }), [arn('a')]],
    ['its node reports', () => cluster.put({ role: 'a', addresses: [], phase: 'Pending', resourceVersion: '2' }), []],
    ['it gets an address', () => cluster.put({ role: 'a' }), [arn('a')]],
    ['it is annotated anew', () => cluster.put({ role: 'b' }), [arn('b')]],
    ['with a session name', () => cluster.put({ role: 'b', sessionName: 's' }), [arn('b')]],
    ['with an external id', () => cluster.put({ role: 'b', sessionName: 's', externalId: 'e' }), [arn('b')]],
    ['the namespace forbids it', () => cluster.permit('default', 'only-c'), []],
    ['the same again', () => cluster.permit('default', 'only-c'), []],
    ['a denied pod', () => cluster.put({ uid: 'denied', role: 'd' }), []],
    ['the namespace permits', () => cluster.permit('default', 'b'), [arn('b')]],
    ['a namespace without pods', () => cluster.permit('empty', '.*'), []],
    ['it ends', () => cluster.put({ role: 'b', phase: 'Succeeded' }), []],
    ['it goes', () => cluster.remove('uid-1'), []],
    ['a pod without a role', () => cluster.put({ uid: 'none', role: '' }), []],
    ['a pod of the host', () => cluster.put({ uid: 'host', role: 'b', hostNetwork: true }), []],
  ];
  for (const [name, step, expected] of steps) {
    credentials.asked.length = 0;
    credentials.forgiven.length = 0;
    step();
    await settle();
    assert.deepEqual(credentials.asked, expected, name);
    assert.deepEqual(credentials.forgiven, expected, name);
  }
});

test('the cache is told which identities have a live pod, as pods come and go', async () => {
  using it = world();
  const { cluster, credentials, clock } = it;
  cluster.put({ uid: '1', role: 'a' });
  cluster.put({ uid: '2', role: 'a' });
  cluster.put({ uid: '3', role: 'b' });
  await clock.advance(1000);
  assert.deepEqual(credentials.retained, [arn('a'), arn('b')]);
  cluster.remove('1');
  cluster.put({ uid: '3', role: 'c' });
  await clock.advance(1000);
  assert.deepEqual(credentials.retained, [arn('a'), arn('c')]);
  cluster.put({ uid: '2', role: 'a', phase: 'Failed' });
  cluster.permit('default', '');
  await clock.advance(1000);
  assert.deepEqual(credentials.retained, []);
  credentials.retained = undefined;
  await clock.advance(60_000);
  assert.equal(credentials.retained, undefined, 'nothing changed');
});

test('the cache is told of no set that is still being put together', async () => {
  using it = world();
  it.credentials.answersAtOnce = true;
  for (let index = 0; index < 5000; index += 1) it.cluster.put({ uid: `${index}`, role: `role-${index}` });
  await it.clock.advance(1000);
  assert.equal(it.credentials.retained, undefined);
  while (it.credentials.asked.length < 5000) await settle();
  await it.clock.advance(1000);
  assert.deepEqual(
    it.credentials.retained,
    Array.from({ length: 5000 }, (_, index) => arn(`role-${index}`)),
  );
});

test('an identity whose last pod went is not fetched when its turn comes', async () => {
  using it = world({ fetchers: 1 });
  it.cluster.put({ uid: '1', role: 'a' });
  it.cluster.put({ uid: '2', role: 'b' });
  await settle();
  it.cluster.remove('2');
  await settle();
  await it.credentials.finishAll();
  assert.deepEqual(it.credentials.asked, [arn('a')]);
});

test('50,000 pods of as many roles: nothing is dropped, and no more fetched at a time than there are fetchers', async () => {
  using it = world({ fetchers: 8 });
  for (let index = 0; index < 50_000; index += 1) it.cluster.put({ uid: `${index}`, role: `role-${index}` });
  while (it.credentials.asked.length < 8) await settle();
  it.credentials.answersAtOnce = true;
  await it.credentials.finishAll();
  while (it.prefetch.pending > 0 || it.credentials.asked.length < 50_000) await settle();
  assert.equal(new Set(it.credentials.asked).size, 50_000);
  assert.equal(it.credentials.mostRunning, 8);
  await it.clock.advance(1000);
  assert.equal(it.credentials.retained?.length, 50_000);
});

test('without fetchers nothing is fetched before a pod asks, and what pods have asked for is kept and renewed', async () => {
  using it = world({ fetchers: 0 });
  it.cluster.put({ uid: '1', role: 'a' });
  await settle();
  await it.clock.advance(1000);
  assert.deepEqual(it.credentials.asked, []);
  assert.equal(it.prefetch.pending, 0);
  assert.deepEqual(it.credentials.retained, [arn('a')]);
});

test('after its end it fetches nothing and hears nothing', async () => {
  const it = world();
  it.cluster.put({ uid: '1', role: 'a' });
  it.prefetch.close();
  it.cluster.put({ uid: '2', role: 'b' });
  await it.clock.advance(10_000);
  assert.deepEqual(it.credentials.asked, []);
  assert.equal(it.credentials.retained, undefined);
  assert.equal(it.cluster.podListeners.size + it.cluster.namespaceListeners.size, 0);
});

test("only the pods of nodes that are this replica's are fetched for, and what others asked for is kept", async () => {
  using it = world({}, (cluster) => {
    cluster.elsewhere.add('theirs');
    cluster.put({ uid: '1', role: 'a', nodeName: 'ours' });
    cluster.put({ uid: '2', role: 'b', nodeName: 'theirs' });
    cluster.put({ uid: '3', role: 'both', nodeName: 'ours' });
    cluster.put({ uid: '4', role: 'both', nodeName: 'theirs' });
  });
  const { cluster, credentials, clock } = it;
  credentials.answersAtOnce = true;
  await clock.advance(1000);
  assert.deepEqual(credentials.asked, [arn('a'), arn('both')]);
  assert.deepEqual(credentials.retained, [arn('a'), arn('both')]);
  assert.deepEqual(credentials.kept, [arn('b')]);
  const steps: readonly (readonly [string, () => void, { asked: string[]; retained: string[]; kept: string[] }])[] = [
    [
      'its stream comes here',
      () => cluster.move('theirs', 'here'),
      { asked: [arn('b'), arn('both')], retained: [arn('a'), arn('both'), arn('b')], kept: [] },
    ],
    [
      'ours goes',
      () => cluster.move('ours', 'elsewhere'),
      { asked: [], retained: [arn('both'), arn('b')], kept: [arn('a')] },
    ],
    [
      'a pod elsewhere changes',
      () => cluster.put({ uid: '1', role: 'c', nodeName: 'ours' }),
      { asked: [], retained: [arn('both'), arn('b')], kept: [arn('c')] },
    ],
    [
      'its last pod here goes',
      () => cluster.remove('4'),
      { asked: [], retained: [arn('b')], kept: [arn('c'), arn('both')] },
    ],
  ];
  for (const [name, step, { asked, retained, kept }] of steps) {
    credentials.asked.length = 0;
    credentials.forgiven.length = 0;
    step();
    await clock.advance(1000);
    assert.deepEqual(credentials.asked, asked, name);
    assert.deepEqual(credentials.retained?.toSorted(), retained.toSorted(), name);
    assert.deepEqual(credentials.kept.toSorted(), kept.toSorted(), name);
    assert.deepEqual(credentials.forgiven, [], `${name}: that is no reason to forgive`);
  }
});
