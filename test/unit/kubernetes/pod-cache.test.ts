import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';
import { NamespaceCache } from '#kubernetes/namespace-cache.ts';
import type { ObjectChange } from '#kubernetes/object-store.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import type * as ports from '#server/ports.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const ADDRESS = '192.0.2.1';

function emptyCache(): PodCache {
  return new PodCache({ logger: recordingLogger().logger });
}

function cacheOf(...pods: readonly PodRecord[]): PodCache {
  const cache = emptyCache();
  for (const pod of pods) cache.upsert(pod);
  return cache;
}

const first = podRecord({ uid: 'one', name: 'one' });
const second = podRecord({ uid: 'two', name: 'two' });

test('The caches are what the server asks for.', () => {
  const pods: ports.PodView = emptyCache();
  const namespaces: ports.NamespaceView = new NamespaceCache({ logger: recordingLogger().logger });
  assert.equal(pods.find(ADDRESS).kind, 'none');
  assert.equal(namespaces.get('default'), undefined);
});

test('A pod is found by each of its addresses and no longer by one that it gave up.', () => {
  const cache = cacheOf(podRecord({ addresses: [ADDRESS, '2001:db8::1'] }));
  assert.equal(cache.find('2001:db8::1').kind, 'found');
  cache.upsert(podRecord({ addresses: ['192.0.2.7'], resourceVersion: '2' }));
  assert.equal(cache.find(ADDRESS).kind, 'none');
  assert.equal(cache.find('2001:db8::1').kind, 'none');
  assert.equal(cache.find('192.0.2.7').kind, 'found');
});

for (const fields of [{ phase: 'Succeeded' }, { phase: 'Failed' }, { hostNetwork: true }, { mirror: true }]) {
  test(`A pod with ${JSON.stringify(fields)} owns no address, and stands in the way of no other.`, () => {
    const cache = cacheOf(podRecord({ ...fields, uid: 'x', name: 'x' }), first);
    const lookup = cache.find(ADDRESS);
    assert.equal(lookup.kind === 'found' ? lookup.pod.uid : lookup.kind, 'one');
    cache.remove('one');
    assert.equal(cache.find(ADDRESS).kind, 'none');
    assert.equal(cache.byUid('x')?.uid, 'x');
  });
}

test('Two live pods with one address are ambiguous until one of them is gone.', () => {
  const cache = cacheOf(first, second);
  const lookup = cache.find(ADDRESS);
  assert.deepEqual(lookup.kind === 'ambiguous' ? lookup.pods.map(({ uid }) => uid) : [], ['one', 'two']);
  assert.equal(cache.ambiguousAddresses, 1);
  cache.remove('one');
  assert.equal(cache.find(ADDRESS).kind, 'found');
  assert.equal(cache.ambiguousAddresses, 0);
});

const ON_A = { nodeName: 'a', hostIps: ['198.51.100.1', '2001:db8::a'] };
const ON_B = { nodeName: 'b', hostIps: ['198.51.100.2'] };
const FOUND_OUT = { by: 'address', address: '2001:db8::a' } as const;
const nodeCalled = (name: string) => ({ by: 'name', name }) as const;

for (const [what, ours, theirs, node, expected] of [
  ['only one is on the node that asks', ON_A, ON_B, nodeCalled('a'), 'found'],
  ['only one is on the node that asks, by the second of its addresses', ON_A, ON_B, FOUND_OUT, 'found'],
  ['neither is on the node that asks', ON_A, ON_B, nodeCalled('c'), 'none'],
  ['no node has a name that is known', ON_A, ON_B, nodeCalled(''), 'none'],
  ['both are on the node that asks', ON_A, ON_A, nodeCalled('a'), 'ambiguous'],
  [
    'the other only says that it is on the node that asks',
    ON_A,
    { ...ON_B, hostIps: ON_A.hostIps },
    nodeCalled('a'),
    'found',
  ],
  ['the other one on the node is terminating', ON_A, { ...ON_A, terminating: true }, nodeCalled('a'), 'found'],
  ['the only one on the node is terminating', { ...ON_A, terminating: true }, ON_B, nodeCalled('a'), 'found'],
  ['no node is named and one is terminating', ON_A, { ...ON_A, terminating: true }, undefined, 'ambiguous'],
  ['the other is a mirror pod of the same node', ON_A, { ...ON_A, mirror: true }, nodeCalled('a'), 'found'],
  ['the other is a mirror pod and no node is named', ON_A, { ...ON_B, mirror: true }, undefined, 'found'],
] as const) {
  test(`Of two pods with one address, ${what}: ${expected}.`, () => {
    const cache = cacheOf({ ...first, ...ours }, { ...second, ...theirs });
    const lookup = cache.find(ADDRESS, { node });
    assert.equal(lookup.kind, expected);
    if (lookup.kind === 'found') assert.equal(lookup.pod.uid, 'one');
  });
}

test('A wait is answered at once when the pod is known, and by the change that brings it otherwise.', async () => {
  const cache = emptyCache();
  const { signal } = new AbortController();
  const waiting = cache.waitFor(ADDRESS, signal);
  const other = cache.waitFor('192.0.2.99', AbortSignal.abort());
  cache.upsert(podRecord({ addresses: [] }));
  cache.upsert(podRecord({ resourceVersion: '2' }));
  assert.equal((await waiting).kind, 'found');
  assert.equal((await other).kind, 'none');
  assert.equal((await cache.waitFor(ADDRESS, signal)).kind, 'found');
});

test('A wait that is given up leaves nothing behind and does not disturb the others.', async () => {
  const cache = emptyCache();
  const controller = new AbortController();
  const given = cache.waitFor(ADDRESS, controller.signal);
  const kept = cache.waitFor(ADDRESS, new AbortController().signal);
  controller.abort();
  assert.equal((await given).kind, 'none');
  await cache.replace([first]);
  assert.equal((await kept).kind, 'found');
});

test('Waits are bounded.', async () => {
  const cache = emptyCache();
  const controller = new AbortController();
  const waits = Array.from({ length: 10_000 }, (_, index) => cache.waitFor(`192.0.2.${index}`, controller.signal));
  assert.equal((await cache.waitFor(ADDRESS, controller.signal)).kind, 'none');
  controller.abort();
  await Promise.all(waits);
  const again = cache.waitFor(ADDRESS, new AbortController().signal);
  cache.upsert(first);
  assert.equal((await again).kind, 'found');
});

test('Listeners hear what changed, after the cache holds it, and nothing of mere versions.', async () => {
  const cache = cacheOf(first, second);
  const heard: string[] = [];
  const tell = ({ previous, current }: ObjectChange<PodRecord>): void => {
    if (current !== undefined) assert.equal(cache.byUid(current.uid), current);
    heard.push(`${previous?.uid ?? '-'}>${current?.uid ?? '-'}`);
  };
  const stop = cache.subscribe(tell);
  cache.upsert({ ...first, resourceVersion: '2' });
  cache.upsert({ ...first, resourceVersion: '3', role: 'other' });
  cache.remove('two');
  await cache.replace([podRecord({ uid: 'three', name: 'one' })]);
  assert.deepEqual(heard, ['one>one', 'two>-', 'one>-', '->three']);
  stop();
  cache.remove('three');
  assert.equal(heard.length, 4);
});

test('A listener that throws harms nobody and is logged.', () => {
  const { logger, lines } = recordingLogger();
  const cache = new PodCache({ logger });
  let heard = 0;
  cache.subscribe(() => {
    throw new Error('defect');
  });
  cache.subscribe(() => {
    heard += 1;
  });
  cache.upsert(first);
  assert.equal(heard, 1);
  assert.equal(lines[0]?.level, 'error');
});

interface Step {
  readonly kind: 'state' | 'deleted' | 'list';
  readonly pod: PodRecord;
  readonly kept: number;
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('state', 'state', 'state', 'deleted', 'list'),
    slot: fc.nat(3),
    generation: fc.nat(2),
    address: fc.nat(2),
    phase: fc.constantFrom('Running', 'Pending', 'Succeeded'),
    kept: fc.nat(15),
  }),
  { maxLength: 40 },
);

test('After any events and lists the cache is what a simple model says.', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (raw) => {
      const cache = emptyCache();
      let model = new Map<string, PodRecord>();
      const buried = new Set<string>();
      for (const [index, { kind, slot, generation, address, phase, kept }] of raw.entries()) {
        const pod = podRecord({
          uid: `uid-${slot}-${generation}`,
          name: `pod-${slot}`,
          addresses: [`192.0.2.${address}`],
          phase,
          resourceVersion: String(index + 1),
        });
        await play({ kind, pod, kept }, cache);
        model = expected({ kind, pod, kept }, model, buried);
        compare(cache, model);
      }
    }),
    { numRuns: 300 },
  );
});

/** A list holds every pod whose place has its bit set in `kept`, and the step's own pod. */
function listed({ pod, kept }: Step, held: Iterable<PodRecord>): PodRecord[] {
  const others = [...held].filter(({ name }) => name !== pod.name && (kept & (1 << Number(name.slice(4)))) !== 0);
  return [...others, pod];
}

async function play(step: Step, cache: PodCache): Promise<void> {
  if (step.kind === 'state') cache.upsert(step.pod);
  else if (step.kind === 'deleted') cache.remove(step.pod.uid);
  else await cache.replace(listed(step, cache.pods()));
}

function expected(step: Step, model: Map<string, PodRecord>, buried: Set<string>): Map<string, PodRecord> {
  const { kind, pod } = step;
  const next = kind === 'list' ? new Map(listed(step, model.values()).map((one) => [one.uid, one])) : new Map(model);
  if (kind === 'deleted') {
    next.delete(pod.uid);
    buried.add(pod.uid);
  }
  if (kind === 'state' && !buried.has(pod.uid)) {
    for (const { uid, name } of model.values()) if (name === pod.name) next.delete(uid);
    next.set(pod.uid, pod);
  }
  for (const uid of model.keys()) if (!next.has(uid)) buried.add(uid);
  for (const uid of next.keys()) buried.delete(uid);
  return next;
}

function compare(cache: PodCache, model: ReadonlyMap<string, PodRecord>): void {
  const byUid = (pods: Iterable<PodRecord>) => [...pods].sort((a, b) => a.uid.localeCompare(b.uid));
  assert.deepEqual(byUid(cache.pods()), byUid(model.values()));
  for (const address of ['192.0.2.0', '192.0.2.1', '192.0.2.2']) {
    const owners = [...model.values()].filter((pod) => ownsItsAddress(pod) && pod.addresses.includes(address));
    const lookup = cache.find(address);
    assert.equal(lookup.kind, ['none', 'found'][owners.length] ?? 'ambiguous');
    if (lookup.kind === 'found') assert.equal(lookup.pod, owners[0]);
  }
}
