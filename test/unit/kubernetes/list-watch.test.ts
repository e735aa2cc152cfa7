import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { Registry } from 'prom-client';
import type { PodRecord } from '#domain/pod.ts';
import { ListWatch } from '#kubernetes/list-watch.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import { createPodParser } from '#kubernetes/pod-record.ts';
import { Confirmation } from '#server/confirmation.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger, type LogLine } from '../../support/recording-logger.ts';
import { listOf, scriptedApi, type OpenBody, type PendingCall, type ScriptedApi } from '../../support/scripted-api.ts';
import { until } from '../../support/until.ts';
import { podObject } from './objects.ts';

interface Scene {
  readonly api: ScriptedApi;
  readonly clock: ManualClock;
  readonly cache: PodCache;
  readonly watch: ListWatch<PodRecord>;
  readonly lines: LogLine[];
  readonly registry: Registry;
  readonly stop: () => Promise<void>;
}

function scene(context: TestContext): Scene {
  const clock = new ManualClock();
  const api = scriptedApi(clock);
  const { logger, lines } = recordingLogger();
  const registry = new Registry();
  const controller = new AbortController();
  const cache = new PodCache({ logger });
  const watch = new ListWatch({
    resource: { name: 'pods', path: '/api/v1/pods', parse: createPodParser() },
    target: cache,
    connection: api,
    clock,
    logger,
    metrics: createKubernetesMetrics(registry),
    signal: controller.signal,
    random: () => 0.5,
  });
  const running = watch.run();
  const stop = async (): Promise<void> => {
    controller.abort();
    await running;
  };
  context.after(stop);
  return { api, clock, cache, watch, lines, registry, stop };
}

/** Brings the loop to its first watch, with these pods listed at version 100. */
async function watching(context: TestContext, pods: readonly unknown[] = []): Promise<Scene & { body: OpenBody }> {
  const it = scene(context);
  (await it.api.next('list')).answer(200, listOf('100', pods));
  const body = (await it.api.next('watch')).open();
  return { ...it, body };
}

/** The next list, once the back-off before it is over. */
async function nextList({ api, clock }: Scene): Promise<PendingCall> {
  await settle();
  await clock.advance(10_000);
  return api.next('list');
}

const FORBIDDEN_NOW =
  'the Kubernetes API forbids this now: the role lacks this verb on this resource, or the API server has just started';

const names = (cache: PodCache): string[] => [...cache.pods()].map(({ name }) => name).sort();

async function metric(registry: Registry, name: string, labels: Record<string, string>): Promise<number> {
  const values = (await registry.getMetricsAsJSON()).find((one) => one.name === name)?.values ?? [];
  const matching = values.filter((value) =>
    Object.entries(labels).every(([label, text]) => Reflect.get(value.labels, label) === text),
  );
  return matching.reduce((sum, { value }) => sum + value, 0);
}

test('A list is read in pages and taken over only when it is complete.', async (context) => {
  const it = scene(context);
  const first = await it.api.next('list');
  assert.equal(first.request.query?.['continue'], undefined);
  assert.equal(first.request.query?.['resourceVersion'], undefined);
  first.answer(200, listOf('7', [podObject({ name: 'a' })], 'token-1'));
  const second = await it.api.next('list');
  assert.equal(second.request.query?.['continue'], 'token-1');
  assert.deepEqual(names(it.cache), []);
  assert.equal(it.watch.status().synced, false);
  second.answer(200, listOf('7', [podObject({ name: 'b' })]));
  const watch = await it.api.next('watch');
  assert.deepEqual(names(it.cache), ['a', 'b']);
  assert.equal(watch.request.query?.['resourceVersion'], '7');
  assert.equal(watch.request.query?.['allowWatchBookmarks'], 'true');
  await it.watch.synced;
});

test('A page that fails leaves the former state as it is, and the list is begun again.', async (context) => {
  const it = await watching(context, [podObject({ name: 'a' })]);
  it.body.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });
  (await nextList(it)).answer(200, listOf('200', [], 'token-1'));
  (await it.api.next('list')).answer(500, { kind: 'Status', message: 'etcd is away' });
  await settle();
  assert.deepEqual(names(it.cache), ['a']);
  const again = await nextList(it);
  assert.equal(again.request.query?.['continue'], undefined);
  again.answer(200, listOf('201', [podObject({ name: 'c' })]));
  await until(() => names(it.cache).join() === 'c', 'the new list');
});

test('A continue token that has expired restarts the list.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(200, listOf('7', [podObject({ name: 'a' })], 'token-1'));
  (await it.api.next('list')).answer(410, { kind: 'Status', code: 410 });
  const again = await nextList(it);
  assert.equal(again.request.query?.['continue'], undefined);
  again.answer(200, listOf('9', [podObject({ name: 'b' })]));
  await it.watch.synced;
  assert.deepEqual(names(it.cache), ['b']);
});

for (const form of ['as an HTTP status', 'inside the stream'] as const) {
  test(`A watch's version that has expired, told ${form}, leads to a new list.`, async (context) => {
    const it = scene(context);
    (await it.api.next('list')).answer(200, listOf('100', [podObject({ name: 'a' })]));
    const watch = await it.api.next('watch');
    const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    if (form === 'inside the stream') watch.open().event('ERROR', status);
    else watch.answer(410, status);
    (await nextList(it)).answer(200, listOf('300', [podObject({ name: 'b' })]));
    assert.equal((await it.api.next('watch')).request.query?.['resourceVersion'], '300');
    assert.deepEqual(names(it.cache), ['b']);
    assert.equal(await metric(it.registry, 'kiam_k8s_relists_total', { reason: 'expired' }), 1);
  });
}

test('A watch that ends is resumed from the last version seen, bookmarks included.', async (context) => {
  const it = await watching(context);
  it.body.event('ADDED', podObject({ name: 'a', version: 101 }));
  it.body.event('BOOKMARK', { kind: 'Pod', metadata: { resourceVersion: '150' } });
  await until(() => it.cache.size === 1, 'the pod');
  await it.clock.advance(5_000);
  it.body.end();
  const next = await it.api.next('watch');
  assert.equal(next.request.query?.['resourceVersion'], '150');
  assert.equal(it.api.calls.filter(({ kind }) => kind === 'list').length, 1);
});

test('A watch asks to be ended within less than the silence that is borne.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(200, listOf('1', []));
  const { request } = await it.api.next('watch');
  assert.ok(Number(request.query?.['timeoutSeconds']) * 1000 < request.silenceLimitMs);
  assert.ok(request.silenceLimitMs < 10_000);
});

test('A half-open connection is noticed within 10 seconds and the watch resumed.', async (context) => {
  const it = await watching(context);
  it.body.event('ADDED', podObject({ name: 'a', version: 101 }));
  await until(() => it.cache.size === 1, 'the pod');
  await it.clock.advance(8_000);
  assert.equal(it.watch.status().silenceMs, 8_000);
  await it.clock.advance(2_000);
  const next = await it.api.next('watch');
  assert.equal(next.request.query?.['resourceVersion'], '101');
  assert.ok(it.body.closed);
  next.open();
  await settle();
  assert.equal(it.watch.status().silenceMs, 0);
});

test('A character that is split between two chunks survives.', async (context) => {
  const it = await watching(context);
  const line = Buffer.from(
    `${JSON.stringify({ type: 'ADDED', object: podObject({ role: 'rôle-ü-🔑', version: 101 }) })}\n`,
  );
  for (const byte of line) it.body.write(Buffer.from([byte]));
  await until(() => it.cache.size === 1, 'the pod');
  assert.equal([...it.cache.pods()][0]?.role, 'rôle-ü-🔑');
});

for (const [what, line] of [
  ['torn in the middle', '{"type":"ADDED","object":{"metadata":{"name":"x"'],
  ['garbage', '\u0000\u0001<html>'],
  ['of an unknown type', '{"type":"EXPLODED","object":{"metadata":{}}}'],
  ['null', 'null'],
  ['a list', '[]'],
  ['without an object', '{"type":"ADDED"}'],
  ['with an object that is no pod', '{"type":"MODIFIED","object":{"metadata":{"name":5}}}'],
] as const) {
  test(`A line that is ${what} is refused, counted, logged once, and answered with a new list.`, async (context) => {
    const it = await watching(context, [podObject({ name: 'a' })]);
    let { body } = it;
    for (let round = 0; round < 3; round += 1) {
      body.write(`${line}\n`);
      (await nextList(it)).answer(200, listOf(String(200 + round), [podObject({ name: `b-${round}` })]));
      body = (await it.api.next('watch')).open();
      assert.deepEqual(names(it.cache), [`b-${round}`]);
    }
    assert.equal(await metric(it.registry, 'kiam_k8s_bad_lines_total', { resource: 'pods' }), 3);
    assert.equal(it.lines.filter(({ message }) => message.startsWith('refused a line')).length, 1);
  });
}

test('A line beyond the bound is refused without being kept.', async (context) => {
  const it = await watching(context);
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  for (let count = 0; count < 9; count += 1) it.body.write(megabyte);
  await nextList(it);
  assert.equal(await metric(it.registry, 'kiam_k8s_bad_lines_total', { reason: 'too-long' }), 1);
});

test('A line torn by the end of its connection is taken from the next watch, without a new list.', async (context) => {
  const it = await watching(context);
  await it.clock.advance(3_000);
  it.body.write('{"type":"ADDED","object":{"meta');
  it.body.end();
  const next = await it.api.next('watch');
  assert.equal(next.request.query?.['resourceVersion'], '100');
  next.open().event('ADDED', podObject({ name: 'a', version: 101 }));
  await until(() => it.cache.size === 1, 'the pod');
  assert.equal(it.api.calls.filter(({ kind }) => kind === 'list').length, 1);
});

test('An object of a list that cannot be read harms no other.', async (context) => {
  const it = scene(context);
  const items = [null, 7, {}, { metadata: { uid: 'x' } }, podObject({ name: 'a' })];
  (await it.api.next('list')).answer(200, listOf('1', items));
  await it.watch.synced;
  assert.deepEqual(names(it.cache), ['a']);
  assert.equal(await metric(it.registry, 'kiam_k8s_refused_objects_total', { resource: 'pods' }), 4);
});

for (const [what, body] of [
  ['no JSON', '<html>proxy error</html>'],
  ['no list', { kind: 'Status' }],
  ['without a version', { metadata: {}, items: [] }],
  ['without items', { metadata: { resourceVersion: '5' } }],
] as const) {
  test(`A list's answer that is ${what} changes nothing and is asked for again.`, async (context) => {
    const it = scene(context);
    (await it.api.next('list')).answer(200, body);
    const again = await nextList(it);
    assert.equal(it.watch.status().synced, false);
    assert.match(it.watch.status().lastError ?? '', /list pods/);
    again.answer(200, listOf('1', []));
    await it.watch.synced;
  });
}

test('Replayed, repeated and late events bring back no older state.', async (context) => {
  const it = await watching(context, [podObject({ name: 'a', version: 90, role: 'listed' })]);
  it.body.event('MODIFIED', podObject({ name: 'a', version: 110, role: 'new' }));
  it.body.event('MODIFIED', podObject({ name: 'a', version: 105, role: 'late' }));
  it.body.event('MODIFIED', podObject({ name: 'a', version: 110, role: 'repeated' }));
  it.body.event('ADDED', podObject({ name: 'gone', version: 111 }));
  it.body.event('DELETED', podObject({ name: 'gone', version: 112 }));
  it.body.event('ADDED', podObject({ name: 'gone', version: 111 }));
  it.body.event('ADDED', podObject({ name: 'end', version: 113 }));
  await until(() => names(it.cache).includes('end'), 'the last event');
  assert.deepEqual(names(it.cache), ['a', 'end']);
  assert.equal(it.cache.byUid('uid-of-a')?.role, 'new');
});

test('A late event about an object that is not held is no ground to guess: the list is asked.', async (context) => {
  const it = await watching(context);
  it.body.event('ADDED', podObject({ name: 'lost', version: 50 }));
  (await nextList(it)).answer(200, listOf('120', [podObject({ name: 'found', version: 50 })]));
  await until(() => names(it.cache).join() === 'found', 'the list');
});

test('A pod recreated under its name is another pod, and the late end of the first does not end it.', async (context) => {
  const it = await watching(context, [podObject({ name: 'a', uid: 'first', ip: '192.0.2.1' })]);
  it.body.event('ADDED', podObject({ name: 'a', uid: 'second', ip: '192.0.2.1', version: 102 }));
  it.body.event('DELETED', podObject({ name: 'a', uid: 'first', ip: '192.0.2.1', version: 103 }));
  it.body.event('ADDED', podObject({ name: 'end', version: 104 }));
  await until(() => names(it.cache).includes('end'), 'the last event');
  assert.equal(it.cache.byUid('first'), undefined);
  const lookup = it.cache.find('192.0.2.1');
  assert.equal(lookup.kind === 'found' ? lookup.pod.uid : lookup.kind, 'second');
});

test('One list that is older than the view is not believed; a second one is.', async (context) => {
  const it = await watching(context, [podObject({ name: 'a' })]);
  it.body.write('garbage\n');
  (await nextList(it)).answer(200, listOf('50', []));
  const second = await nextList(it);
  assert.deepEqual(names(it.cache), ['a']);
  second.answer(200, listOf('51', []));
  await until(() => it.cache.size === 0, 'the restored state');
});

test('Losing the API is logged once with its cause, and so is its return.', async (context) => {
  const it = await watching(context);
  it.body.break(new Error('ECONNRESET'));
  for (let attempt = 0; attempt < 4; attempt += 1) {
    await it.clock.advance(5_000);
    (await it.api.next('watch')).refuse(new Error('connect ECONNREFUSED'));
    await settle();
  }
  const warnings = it.lines.filter(({ level }) => level === 'warn');
  assert.equal(warnings.length, 1);
  assert.equal(warnings[0]?.fields['error'], 'connect ECONNREFUSED');
  assert.equal(it.watch.status().lastError, 'watch pods: connect ECONNREFUSED');
  await it.clock.advance(5_000);
  (await it.api.next('watch')).open();
  await until(() => it.lines.some(({ message }) => message.endsWith('is back')), 'the return');
  assert.equal(it.watch.status().lastError, undefined);
});

test('A refusal names the verb and the resource that are forbidden.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(403, { kind: 'Status', message: 'pods is forbidden: User "kiam" cannot list' });
  await until(() => it.lines.length > 0, 'the log line');
  assert.equal(it.lines[0]?.message, FORBIDDEN_NOW);
  assert.deepEqual(it.lines[0]?.fields, {
    verb: 'list',
    resource: 'pods',
    status: 403,
    error: 'pods is forbidden: User "kiam" cannot list',
  });
});

test('An API server that has not read the roles yet is not believed to judge the role, and its watch continues.', async (context) => {
  const it = await watching(context, [podObject({ name: 'a' })]);
  it.body.break(new Error('ECONNRESET'));
  for (const answer of [
    (call: PendingCall) => call.refuse(new Error('connect ECONNREFUSED')),
    (call: PendingCall) => call.answer(403, { kind: 'Status', message: 'pods is forbidden' }),
    (call: PendingCall) => call.answer(403, { kind: 'Status', message: 'pods is forbidden' }),
    (call: PendingCall) => call.open().event('ADDED', podObject({ name: 'b', version: 101 })),
  ]) {
    await it.clock.advance(5_000);
    const call = await it.api.next('watch');
    assert.equal(call.request.query?.['resourceVersion'], '100');
    answer(call);
    await settle();
  }
  await until(() => names(it.cache).join() === 'a,b', 'the new pod');
  assert.deepEqual(
    it.lines.map(({ message }) => message),
    [
      'the Kubernetes API does not answer as expected: keeping what is known and retrying',
      FORBIDDEN_NOW,
      'the Kubernetes API is back',
    ],
  );
});

test('Credentials that are no longer accepted are read again.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(401, { kind: 'Status', message: 'Unauthorized' });
  await until(() => it.api.renewals() === 1, 'the renewal');
});

test('Retry-After is respected.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(429, { kind: 'Status' }, 5_000);
  await settle();
  await it.clock.advance(4_900);
  assert.equal(it.api.calls.length, 1);
  await it.clock.advance(200);
  assert.equal(it.api.calls.length, 2);
});

test('A version that the API server does not understand is given up for a new list.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(200, listOf('opaque', []));
  (await it.api.next('watch')).answer(400, { kind: 'Status', message: 'invalid resource version' });
  await nextList(it);
});

test('A watch that ends at once does not spin: each next one waits longer.', async (context) => {
  const it = await watching(context);
  const watches = (): number => it.api.calls.filter(({ kind }) => kind === 'watch').length;
  let { body } = it;
  for (const waitMs of [180, 370, 740]) {
    const before = watches();
    body.end();
    await it.clock.advance(waitMs);
    assert.equal(watches(), before);
    await it.clock.advance(waitMs);
    body = (await it.api.next('watch')).open();
  }
});

test('The view is confirmed as of the start of a read that the watch has caught up with.', async (context) => {
  const it = scene(context);
  it.api.currentVersion = '140';
  const list = await it.api.next('list');
  assert.equal(it.watch.status().confirmedAgeMs, Number.POSITIVE_INFINITY);
  await it.clock.advance(1_000);
  list.answer(200, listOf('100', []));
  const watch = await it.api.next('watch');
  await it.clock.advance(1_000);
  assert.equal(it.watch.status().confirmedAgeMs, 2_000);
  const body = watch.open();
  await it.clock.advance(4_000);
  body.event('ADDED', podObject({ name: 'a', version: 139 }));
  await until(() => it.cache.size === 1, 'the pod');
  assert.equal(it.watch.status().confirmedAgeMs, 6_000);
  body.event('BOOKMARK', { metadata: { resourceVersion: '141' } });
  await until(() => it.watch.status().confirmedAgeMs === 4_000, 'the confirmation');
});

/** Brings the loop to a watch from version 150, in a view that holds the pods `a` and `b`. */
async function watchingFrom150(context: TestContext): Promise<Scene & { next: PendingCall }> {
  const it = await watching(context, [podObject({ name: 'a' })]);
  (await it.api.next('confirm')).answer(200, listOf('100', []));
  it.body.event('ADDED', podObject({ name: 'b', version: 150 }));
  await until(() => it.cache.size === 2, 'the pod');
  await it.clock.advance(3_000);
  it.body.end();
  const next = await it.api.next('watch');
  assert.equal(next.request.query?.['resourceVersion'], '150');
  return { ...it, next };
}

test('A read of an older version than the watch began from ends the watch, and the next list is believed: etcd was restored.', async (context) => {
  const it = await watchingFrom150(context);
  it.api.currentVersion = '120';
  const silent = it.next.open();
  await until(() => silent.closed, 'the end of the watch');
  assert.equal(it.watch.status().confirmedAgeMs, Number.POSITIVE_INFINITY);
  assert.deepEqual(
    it.lines.filter(({ level }) => level === 'warn'),
    [
      {
        level: 'warn',
        message: 'the Kubernetes API returned an older state than before: listing everything again',
        fields: { resource: 'pods', position: '150', resourceVersion: '120' },
      },
    ],
  );
  const list = await nextList(it);
  assert.equal(await metric(it.registry, 'kiam_k8s_relists_total', { resource: 'pods', reason: 'older-read' }), 1);
  list.answer(200, listOf('121', [podObject({ name: 'a' })]));
  assert.equal((await it.api.next('watch')).request.query?.['resourceVersion'], '121');
  assert.deepEqual(names(it.cache), ['a']);
});

test('A view that an older read has disproved confirms no address, however young it was.', async (context) => {
  const it = await watchingFrom150(context);
  const confirmation = new Confirmation({
    reader: {
      readPod: () => Promise.resolve({ kind: 'unknown', reason: 'the API server is away' }),
      viewAgeMs: () => it.watch.status().confirmedAgeMs,
    },
    pods: it.cache,
    clock: it.clock,
    maxViewAgeMs: 30_000,
  });
  const pod = it.cache.byUid('uid-of-b');
  assert.ok(pod !== undefined);
  const verdict = async (): Promise<string> => (await confirmation.confirm(pod, 'kernel-bound', context.signal)).kind;
  assert.equal(await verdict(), 'holds');
  it.api.currentVersion = '120';
  it.next.open();
  await settle();
  assert.equal(await verdict(), 'unsure');
});

test('A read that is queued for longer than its watch lasts confirms the view all the same.', async (context) => {
  const it = scene(context);
  (await it.api.next('list')).answer(200, listOf('100', []));
  await it.clock.advance(1_000);
  const first = (await it.api.next('watch')).open();
  const read = await it.api.next('confirm');
  await it.clock.advance(4_000);
  first.end();
  const second = (await it.api.next('watch')).open();
  second.event('BOOKMARK', { metadata: { resourceVersion: '150' } });
  await settle();
  assert.equal(it.watch.status().confirmedAgeMs, 5_000);
  assert.equal(it.api.isWaiting('confirm'), false);
  read.answer(200, listOf('140', []));
  await until(() => it.watch.status().confirmedAgeMs === 4_000, 'the confirmation');
});

test('A read that began before the last complete list says nothing about it.', async (context) => {
  const it = await watchingFrom150(context);
  it.next.open().write('garbage\n');
  const read = await it.api.next('confirm');
  for (const version of ['50', '51']) {
    await settle();
    await it.clock.advance(200);
    (await it.api.next('list')).answer(200, listOf(version, []));
  }
  const watch = (await it.api.next('watch')).open();
  read.answer(200, listOf('45', []));
  await settle();
  assert.equal(watch.closed, false);
  assert.notEqual(it.watch.status().confirmedAgeMs, Number.POSITIVE_INFINITY);
});

test('A watch that the API server queues is waited for, from the second attempt on, and no connection is dropped for it.', async (context) => {
  const it = scene(context);
  it.api.currentVersion = '100';
  (await it.api.next('list')).answer(200, listOf('100', []));
  const first = await it.api.next('watch');
  assert.equal(first.request.headersWithinMs, 5_000);
  await it.clock.advance(6_000);
  for (const version of [101, 102]) {
    it.api.currentVersion = String(version);
    const queued = await it.api.next('watch');
    assert.ok(queued.request.headersWithinMs >= 20_000);
    assert.equal(queued.request.newConnection, true);
    await it.clock.advance(16_000);
    const body = queued.open();
    body.event('ADDED', podObject({ name: `pod-${version}`, version }));
    await until(() => it.cache.byUid(`uid-of-pod-${version}`) !== undefined, 'the pod');
    await it.clock.advance(6_000);
    body.end();
  }
  const prompt = await it.api.next('watch');
  const body = prompt.open();
  await it.clock.advance(6_000);
  body.end();
  const last = await it.api.next('watch');
  assert.deepEqual([last.request.headersWithinMs, last.request.newConnection], [5_000, false]);
  assert.equal(it.api.drops(), 0);
});

for (const moment of ['before the headers', 'in the middle of a body', 'during a back-off'] as const) {
  test(`The signal ends the loop ${moment}.`, async (context) => {
    const it = scene(context);
    const list = await it.api.next('list');
    if (moment === 'in the middle of a body') list.open().write('{"items":[');
    if (moment === 'during a back-off') list.answer(500, 'oops');
    await settle();
    await it.stop();
  });
}
