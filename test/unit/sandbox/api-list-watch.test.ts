import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { at, type JsonObject, listAt, textAt } from '#sandbox/json.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import { apiClient, type ApiClient, type OpenWatch, type WatchEvent } from '../../support/api-client.ts';
import { podObject, startApi } from './api-fixture.ts';

let api: KubernetesApi;
let client: ApiClient;
beforeEach(async () => {
  api = await startApi();
  client = apiClient(api.adminKubeconfig());
});
afterEach(async () => {
  client.close();
  await api.close();
});

const PODS = '/api/v1/pods';
const DEFAULT_PODS = '/api/v1/namespaces/default/pods';

/** Pods as tests put them: the kubelet leaves them alone. */
function put(name: string, fields: JsonObject = {}): JsonObject {
  return api.putPod({ ...podObject(name, { namespace: 'default' }), status: { phase: 'Running' }, ...fields });
}

function versionOf(object: JsonObject): string {
  return textAt(object, 'metadata', 'resourceVersion');
}

async function nextEvent(watch: OpenWatch): Promise<WatchEvent> {
  const event = await watch.next();
  if (typeof event === 'string') assert.fail(`the watch was over: ${event}`);
  return event;
}

async function nextTypes(watch: OpenWatch, count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const { type, object } = await nextEvent(watch);
    seen.push(`${type} ${textAt(object, 'metadata', 'name')}`);
  }
  return seen;
}

test('a watch from a forgotten version is refused in the stream or by status, as the test wants', async () => {
  const list = (await client.call('GET', PODS)).body;
  put('one');
  api.controls.compact();
  const path = `${PODS}?watch=1&resourceVersion=${versionOf(list)}`;
  const watch = await client.watch(path);
  const { type, object } = await nextEvent(watch);
  assert.deepEqual([watch.status, type, at(object, 'code'), textAt(object, 'reason')], [200, 'ERROR', 410, 'Expired']);
  assert.equal(await watch.next(), 'end');
  api.controls.expiredAs = 'status';
  assert.equal((await client.call('GET', path)).status, 410);
});

test('the window of history is bounded', async () => {
  await api.close();
  api = await startApi({ window: 5 });
  client.close();
  client = apiClient(api.adminKubeconfig());
  const list = (await client.call('GET', PODS)).body;
  for (let index = 0; index < 20; index += 1) put('one', { status: { phase: 'Running', message: String(index) } });
  const watch = await client.watch(`${PODS}?watch=1&resourceVersion=${versionOf(list)}`);
  assert.equal((await nextEvent(watch)).type, 'ERROR');
});

test('bookmarks carry the latest version to those who allow them', async () => {
  const watch = await client.watch(`${PODS}?watch=1&allowWatchBookmarks=true&resourceVersion=0`);
  const without = await client.watch(`${PODS}?watch=1&resourceVersion=0`);
  api.putNamespace({ metadata: { name: 'elsewhere' } });
  const { body: list } = await client.call('GET', PODS);
  api.controls.bookmark();
  put('one');
  const bookmark = await nextEvent(watch);
  assert.deepEqual([bookmark.type, versionOf(bookmark.object)], ['BOOKMARK', versionOf(list)]);
  assert.deepEqual(Object.keys(bookmark.object).sort(), ['apiVersion', 'kind', 'metadata']);
  assert.deepEqual(await nextTypes(without, 1), ['ADDED one']);
  watch.close();
  without.close();
});

test('deliveries are held back per resource while lists keep showing everything', async () => {
  const pods = await client.watch(`${PODS}?watch=1&resourceVersion=0`);
  const namespaces = await client.watch('/api/v1/namespaces?watch=1&resourceVersion=0');
  await nextTypes(namespaces, 4);
  api.controls.holdDelivery('pods');
  put('one');
  api.putNamespace({ metadata: { name: 'free' } });
  assert.deepEqual(await nextTypes(namespaces, 1), ['ADDED free']);
  assert.equal(listAt((await client.call('GET', PODS)).body, 'items').length, 1);
  put('two');
  api.controls.writeEvent('MARK', {}, 'pods');
  assert.equal((await nextEvent(pods)).type, 'MARK');
  api.controls.releaseDelivery();
  assert.deepEqual(await nextTypes(pods, 2), ['ADDED one', 'ADDED two']);
  pods.close();
  namespaces.close();
});

test('watches are cut, ended, torn and fed with rubbish', async () => {
  const open = (): Promise<OpenWatch> => client.watch(`${PODS}?watch=1&resourceVersion=0`);
  const rubbish = await open();
  api.controls.writeRaw('no json at all\n');
  api.controls.writeEvent('SURPRISE', { kind: 'Pod' });
  assert.equal((await nextEvent(rubbish)).line, 'no json at all');
  assert.equal((await nextEvent(rubbish)).type, 'SURPRISE');
  api.controls.endWatches();
  assert.equal(await rubbish.next(), 'end');

  const cut = await open();
  api.controls.cutWatches('pods');
  assert.equal(await cut.next(), 'cut');

  const torn = await open();
  api.controls.tearNextLine();
  const whole = put('one');
  const { line } = await nextEvent(torn);
  assert.ok(line.startsWith('{"type":"ADDED"') && line.length < JSON.stringify(whole).length);
  assert.equal(await torn.next(), 'cut');
  assert.equal(api.controls.openWatches(), 0);
});

test('the next requests fail as told, and only those', async () => {
  api.controls.failNext({ answer: 500, times: 2, verb: 'list', resource: 'pods' });
  api.controls.failNext({ answer: 429, retryAfterSeconds: 7, resource: 'namespaces' });
  assert.equal((await client.call('GET', '/version')).status, 200);
  const throttled = await client.call('GET', '/api/v1/namespaces');
  assert.deepEqual(
    [throttled.status, throttled.headers['retry-after'], textAt(throttled.body, 'reason')],
    [429, '7', 'TooManyRequests'],
  );
  const statuses = [];
  for (let index = 0; index < 3; index += 1) statuses.push((await client.call('GET', PODS)).status);
  assert.deepEqual(statuses, [500, 500, 200]);
  api.controls.failNext({ answer: 'reset' });
  await assert.rejects(client.call('GET', PODS));
});

test('requests are counted by verb, resource and user', async () => {
  await client.call('GET', PODS);
  await client.call('GET', DEFAULT_PODS);
  const watch = await client.watch(`${PODS}?watch=1`);
  watch.close();
  assert.deepEqual(
    [
      api.controls.requests('list', 'pods'),
      api.controls.requests('watch', 'pods', 'admin'),
      api.controls.requests('list', 'pods', 'x'),
    ],
    [2, 1, 0],
  );
});

test('it stops and listens again at the same address with what it knew', async () => {
  put('one');
  const watch = await client.watch(`${PODS}?watch=1&resourceVersion=0`);
  await nextTypes(watch, 1);
  await api.listener.stop();
  assert.equal(await watch.next(), 'cut');
  await assert.rejects(client.call('GET', PODS));
  await api.listener.start();
  assert.equal(listAt((await client.call('GET', PODS)).body, 'items').length, 1);
});

test('versions that cannot be met are refused', async () => {
  const { body: list } = await client.call('GET', PODS);
  const cases: readonly [string, number][] = [
    [`${PODS}?resourceVersion=999999`, 504],
    [`${PODS}?resourceVersion=abc`, 400],
    [`${PODS}?resourceVersion=1&resourceVersionMatch=Exact`, 410],
    [`${PODS}?resourceVersion=${versionOf(list)}&resourceVersionMatch=Exact`, 200],
    [`${PODS}?resourceVersionMatch=Exact`, 422],
    [`${PODS}?resourceVersion=0`, 200],
    [`${PODS}?fieldSelector=spec.nonsense%3Dx`, 400],
    [`${PODS}?labelSelector=a+like+b`, 400],
    [`${PODS}?continue=rubbish`, 400],
    [`${PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan`, 422],
  ];
  for (const [path, expected] of cases) assert.equal((await client.call('GET', path)).status, expected, path);
});
