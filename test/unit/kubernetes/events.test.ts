import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { Registry } from 'prom-client';
import { createPodEvents, type PodEvents } from '#kubernetes/events.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { cutToBytes } from '#kubernetes/text.ts';
import type * as ports from '#server/ports.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger, type LogLine } from '../../support/recording-logger.ts';
import { scriptedApi, type PendingCall, type ScriptedApi } from '../../support/scripted-api.ts';
import { until } from '../../support/until.ts';

interface Scene {
  readonly api: ScriptedApi;
  readonly clock: ManualClock;
  readonly events: PodEvents;
  readonly lines: LogLine[];
}

function scene(context: TestContext): Scene {
  const clock = new ManualClock();
  const api = scriptedApi(clock);
  const { logger, lines } = recordingLogger();
  const controller = new AbortController();
  const metrics = createKubernetesMetrics(new Registry());
  const events = createPodEvents({ connection: api, clock, logger, metrics, signal: controller.signal });
  const running = events.run();
  context.after(async () => {
    controller.abort();
    await running;
  });
  return { api, clock, events, lines };
}

const pod = podRecord({ namespace: 'team-a', name: 'app', resourceVersion: '42' });
const forbid = (it: Scene, message = 'no', about = pod): void => it.events.warning(about, 'KiamRoleForbidden', message);
const bodyOf = ({ request }: PendingCall): unknown => JSON.parse(request.body ?? '');
const sent = ({ api }: Scene): number => api.calls.length;

async function accept(it: Scene): Promise<PendingCall> {
  const call = await it.api.next('other');
  call.answer(call.request.method === 'POST' ? 201 : 200, {});
  await settle();
  return call;
}

test('The recorder is what the server asks for.', (context) => {
  const recorder: ports.PodWarnings = scene(context).events;
  assert.ok(recorder);
});

test('The first occurrence creates an Event in the form that Kiam gives it.', async (context) => {
  const it = scene(context);
  forbid(it, 'failed assuming role "x": no');
  const { request } = await accept(it);
  assert.equal(request.method, 'POST');
  assert.equal(request.path, '/api/v1/namespaces/team-a/events');
  assert.equal(request.contentType, 'application/json');
  const nanoseconds = (BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n + 1n).toString(16);
  assert.deepEqual(JSON.parse(request.body ?? ''), {
    kind: 'Event',
    apiVersion: 'v1',
    metadata: { name: `app.${nanoseconds}`, namespace: 'team-a' },
    involvedObject: {
      kind: 'Pod',
      apiVersion: 'v1',
      namespace: 'team-a',
      name: 'app',
      uid: 'uid-1',
      resourceVersion: '42',
    },
    reason: 'KiamRoleForbidden',
    message: 'failed assuming role "x": no',
    source: { component: 'kiam.server' },
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 1,
    type: 'Warning',
    eventTime: null,
    reportingComponent: '',
    reportingInstance: '',
  });
});

test('A repetition patches the Event that was created; another message is another Event.', async (context) => {
  const it = scene(context);
  forbid(it);
  const created = await accept(it);
  const name = String(Reflect.get(Reflect.get(Object(bodyOf(created)), 'metadata'), 'name'));
  await it.clock.advance(2_000);
  forbid(it);
  const { request } = await accept(it);
  assert.equal(request.method, 'PATCH');
  assert.equal(request.path, `/api/v1/namespaces/team-a/events/${name}`);
  assert.equal(request.contentType, 'application/strategic-merge-patch+json');
  assert.deepEqual(JSON.parse(request.body ?? ''), { count: 2, lastTimestamp: '2026-01-01T00:00:02Z', message: 'no' });
  forbid(it, 'for another reason');
  assert.equal((await accept(it)).request.method, 'POST');
});

test('A pod of the same name with another UID gets Events of its own.', async (context) => {
  const it = scene(context);
  forbid(it);
  await accept(it);
  forbid(it, 'no', { ...pod, uid: 'uid-2' });
  assert.equal((await accept(it)).request.method, 'POST');
});

test('An Event that has been deleted meanwhile is created again with its whole count.', async (context) => {
  const it = scene(context);
  forbid(it);
  await accept(it);
  forbid(it);
  (await it.api.next('other')).answer(404, { kind: 'Status', reason: 'NotFound' });
  const again = await accept(it);
  assert.equal(again.request.method, 'POST');
  assert.equal(Reflect.get(Object(bodyOf(again)), 'count'), 2);
});

test('A name that is taken is replaced by another.', async (context) => {
  const it = scene(context);
  forbid(it);
  const first = await it.api.next('other');
  first.answer(409, { kind: 'Status', reason: 'AlreadyExists' });
  const second = await accept(it);
  assert.notDeepEqual(Reflect.get(Object(bodyOf(first)), 'metadata'), Reflect.get(Object(bodyOf(second)), 'metadata'));
});

test('Occurrences that wait to be sent become one call, and so do those that the limit holds back.', async (context) => {
  const it = scene(context);
  for (let count = 0; count < 3; count += 1) forbid(it);
  const call = await accept(it);
  assert.equal(Reflect.get(Object(bodyOf(call)), 'count'), 3);
  for (let count = 0; count < 24; count += 1) {
    forbid(it);
    await accept(it);
  }
  assert.equal(sent(it), 25);
  for (let count = 0; count < 100; count += 1) forbid(it);
  await settle();
  assert.equal(sent(it), 25);
  forbid(it, 'no', podRecord({ uid: 'another', name: 'another' }));
  await accept(it);
  await it.clock.advance(300_000);
  forbid(it);
  assert.equal(Reflect.get(Object(bodyOf(await accept(it))), 'count'), 128);
});

test('An Events API that fails is logged once, waited for, and never called in parallel.', async (context) => {
  const it = scene(context);
  for (let count = 0; count < 20; count += 1) forbid(it, `message ${count}`);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const call = await it.api.next('other');
    assert.equal(it.api.isWaiting('other'), false);
    call.answer(403, { kind: 'Status', message: 'events is forbidden' });
    await until(() => it.lines.length === 1, 'the log line');
    await settle();
    assert.equal(it.api.isWaiting('other'), false);
    for (let seconds = 0; seconds < 600 && !it.api.isWaiting('other'); seconds += 1) await it.clock.advance(1_000);
  }
  assert.equal(it.lines.length, 1);
  assert.deepEqual([it.lines[0]?.fields['verb'], it.lines[0]?.fields['resource']], ['create', 'events']);
});

test('A namespace that is going away is no outage.', async (context) => {
  const it = scene(context);
  forbid(it);
  const message = 'events is forbidden: unable to create new content in namespace x because it is being terminated';
  (await it.api.next('other')).answer(403, { kind: 'Status', message });
  forbid(it, 'next');
  (await it.api.next('other')).answer(404, { kind: 'Status' });
  await settle();
  assert.deepEqual(it.lines, []);
});

test('What waits is bounded, whatever the API does.', async (context) => {
  const it = scene(context);
  for (let count = 0; count < 5_000; count += 1) forbid(it, 'no', podRecord({ uid: `uid-${count}` }));
  for (let count = 0; count < 1_000; count += 1) await accept(it);
  assert.equal(it.api.isWaiting('other'), false);
  assert.equal(sent(it), 1_000);
});

test('Names and messages that are too long are cut to what the API server takes.', async (context) => {
  const it = scene(context);
  forbid(it, 'é'.repeat(2_000), podRecord({ name: 'n'.repeat(253) }));
  const body = Object(bodyOf(await accept(it)));
  assert.equal(Reflect.get(body, 'message'), 'é'.repeat(512));
  assert.equal(String(Reflect.get(Reflect.get(body, 'metadata'), 'name')).length, 253);
});

for (const [text, expected] of [
  ['abc', 'abc'],
  ['abcdef', 'abcde'],
  ['abcdé', 'abcd'],
  ['ab🔑🔑', 'ab'],
  ['🔑🔑', '🔑'],
  ['', ''],
] as const) {
  test(`'${text}' is cut to 5 bytes at the character: '${expected}'.`, () => {
    assert.equal(cutToBytes(text, 5), expected);
  });
}
