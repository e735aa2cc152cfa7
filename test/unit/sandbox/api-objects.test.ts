import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { at, type JsonObject, textAt } from '#sandbox/json.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import { apiClient, type ApiClient } from '../../support/api-client.ts';
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

const PODS = '/api/v1/namespaces/default/pods';
const MERGE = { 'content-type': 'application/merge-patch+json' };

function roleOf(pod: JsonObject): string {
  return textAt(pod, 'metadata', 'annotations', 'iam.amazonaws.com/role');
}

test('a created pod has what the server adds, and an address a moment later', async () => {
  const { status, body } = await client.call('POST', PODS, {
    body: podObject('one', { annotations: { 'iam.amazonaws.com/role': 'reader' } }),
  });
  assert.equal(status, 201);
  assert.match(textAt(body, 'metadata', 'uid'), /^[0-9a-f-]{36}$/);
  assert.match(textAt(body, 'metadata', 'resourceVersion'), /^\d+$/);
  assert.match(textAt(body, 'metadata', 'creationTimestamp'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(textAt(body, 'status', 'phase'), 'Pending');
  assert.equal(roleOf(body), 'reader');
  const running = await api.waitForPod({
    namespace: 'default',
    name: 'one',
    signal: AbortSignal.timeout(5000),
    condition: (pod) => textAt(pod, 'status', 'phase') === 'Running',
  });
  assert.deepEqual(at(running, 'status', 'podIPs'), [{ ip: '127.1.0.1' }]);
  assert.deepEqual([textAt(running, 'spec', 'nodeName'), textAt(running, 'status', 'hostIP')], ['node-1', '127.0.0.1']);
});

test('a deleted pod terminates first, and goes when the kubelet is done', async () => {
  api.kubelet.configure({ terminationDelayMs: 'never' });
  await client.call('POST', PODS, { body: podObject('one') });
  await api.waitForPod({
    namespace: 'default',
    name: 'one',
    signal: AbortSignal.timeout(5000),
    condition: (pod) => textAt(pod, 'status', 'podIP') !== '',
  });
  const { body } = await client.call('DELETE', `${PODS}/one`);
  assert.notEqual(textAt(body, 'metadata', 'deletionTimestamp'), '');
  assert.equal(at(body, 'metadata', 'deletionGracePeriodSeconds'), 30);
  assert.notEqual(api.pod('default', 'one'), undefined);
  await client.call('DELETE', `${PODS}/one`, { body: { gracePeriodSeconds: 0 } });
  assert.equal(api.pod('default', 'one'), undefined);
  assert.equal((await client.call('DELETE', `${PODS}/one`)).status, 404);
});

test('finalizers keep an object until they are gone', async () => {
  api.putPod(podObject('one', { namespace: 'default', finalizers: ['example.com/hold'] }));
  await client.call('DELETE', `${PODS}/one?gracePeriodSeconds=0`);
  assert.notEqual(textAt(api.pod('default', 'one'), 'metadata', 'deletionTimestamp'), '');
  await client.call('PATCH', `${PODS}/one`, { body: { metadata: { finalizers: null } }, headers: MERGE });
  assert.equal(api.pod('default', 'one'), undefined);
});

test('a namespace goes with all that is in it and takes nothing new meanwhile', async () => {
  api.createNamespace({ metadata: { name: 'team' } });
  api.putPod(podObject('one', { namespace: 'team', finalizers: ['example.com/hold'] }));
  api.putPod(podObject('two', { namespace: 'team' }));
  const { body } = await client.call('DELETE', '/api/v1/namespaces/team');
  assert.equal(textAt(body, 'status', 'phase'), 'Terminating');
  assert.equal((await client.call('POST', '/api/v1/namespaces/team/pods', { body: podObject('three') })).status, 403);
  assert.equal(api.pod('team', 'two'), undefined);
  await client.call('PATCH', '/api/v1/namespaces/team/pods/one', {
    body: { metadata: { finalizers: null } },
    headers: MERGE,
  });
  assert.equal(api.namespace('team'), undefined);
});

test('certificates are an identity too; wrong tokens are none', async () => {
  const byCertificate = apiClient(await api.certificateIdentity('by-certificate', SERVER_RULES));
  assert.equal((await byCertificate.call('GET', '/api/v1/pods')).status, 200);
  assert.match(
    textAt((await byCertificate.call('GET', '/api/v1/nodes')).body, 'message'),
    /User "by-certificate" cannot list/,
  );
  byCertificate.close();
  const bearer = (token: string) => client.call('GET', '/api/v1/pods', { headers: { authorization: token } });
  assert.equal((await bearer('Bearer wrong')).status, 401);
  assert.match(textAt((await bearer('')).body, 'message'), /User "system:anonymous" cannot list/);
});

test('rubbish never brings the server down', async () => {
  const raw = (path: string, init: { method: string; headers?: Record<string, string> }) =>
    client.call(init.method, path, init);
  const cases: readonly [string, string, number][] = [
    ['GET', '/api/v1/namespaces/%ff/pods', 404],
    ['GET', '//', 404],
    ['BREW', PODS, 400],
    ['OPTIONS', PODS, 404],
    ['POST', PODS, 400],
    ['GET', '/api/v1/namespaces/default/pods/a/b/c/d', 404],
    ['GET', '/apis/none.example.com/v1/things', 404],
    ['GET', `${PODS}/__proto__`, 404],
    ['POST', '/apis/authentication.k8s.io/v1/unknown', 400],
  ];
  for (const [method, path, status] of cases)
    assert.equal((await raw(path, { method })).status, status, `${method} ${path}`);
  assert.equal((await client.call('GET', '/version')).status, 200);
});
