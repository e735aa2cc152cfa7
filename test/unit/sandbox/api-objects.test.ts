import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { at, type JsonObject, listAt, textAt } from '#sandbox/json.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import { apiClient, type ApiClient } from './api-client.ts';
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
const STRATEGIC = { 'content-type': 'application/strategic-merge-patch+json' };
const JSON_PATCH = { 'content-type': 'application/json-patch+json' };

function annotated(text: string): JsonObject {
  return { metadata: { annotations: { 'iam.amazonaws.com/role': text } } };
}

function roleOf(pod: JsonObject): string {
  return textAt(pod, 'metadata', 'annotations', 'iam.amazonaws.com/role');
}

/** A pod that the kubelet leaves alone. */
function put(name: string): JsonObject {
  return api.putPod({ ...podObject(name, { namespace: 'default' }), status: { phase: 'Running' } });
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

test('what must not be created is refused with the status of the real server', async () => {
  put('taken');
  const cases: readonly [string, JsonObject, number, string][] = [
    ['/api/v1/namespaces/missing/pods', podObject('one'), 404, 'NotFound'],
    [PODS, podObject('taken'), 409, 'AlreadyExists'],
    [PODS, podObject('Not_A_Name'), 422, 'Invalid'],
    [PODS, podObject(''), 422, 'Invalid'],
    [PODS, { metadata: { name: 'empty' }, spec: {} }, 422, 'Invalid'],
    [PODS, podObject('one', { namespace: 'other' }), 400, 'BadRequest'],
    [PODS, { ...podObject('one'), kind: 'Secret' }, 400, 'BadRequest'],
    [PODS, podObject('one', { annotations: { number: 1 } }), 400, 'BadRequest'],
    [PODS, podObject('one', { annotations: { long: 'x'.repeat(256 * 1024) } }), 422, 'Invalid'],
    ['/api/v1/namespaces', { metadata: { name: 'two.words' } }, 422, 'Invalid'],
    ['/api/v1/namespaces/default/endpoints', { metadata: { name: 'x' } }, 404, 'NotFound'],
  ];
  for (const [path, body, status, reason] of cases) {
    const answer = await client.call('POST', path, { body });
    assert.deepEqual(
      [answer.status, textAt(answer.body, 'reason'), textAt(answer.body, 'kind')],
      [status, reason, 'Status'],
      path,
    );
    assert.equal(at(answer.body, 'code'), status);
  }
});

test('a name is made up where one is asked for', async () => {
  const { body } = await client.call('POST', PODS, { body: { ...podObject('', { generateName: 'web-' }) } });
  assert.match(textAt(body, 'metadata', 'name'), /^web-[a-z0-9]{5}$/);
});

test('patches of every kind change what they say and nothing else', async () => {
  put('one');
  const path = `${PODS}/one`;
  await client.call('PATCH', path, { body: annotated('reader'), headers: MERGE });
  await client.call('PATCH', path, { body: { metadata: { labels: { a: 'b' } } }, headers: STRATEGIC });
  const operation = { op: 'replace', path: '/metadata/annotations/iam.amazonaws.com~1role', value: 'writer' };
  const { body } = await client.call('PATCH', path, { body: [operation], headers: JSON_PATCH });
  assert.deepEqual([roleOf(body), at(body, 'metadata', 'labels')], ['writer', { a: 'b' }]);
  const removed = await client.call('PATCH', path, { body: { metadata: { annotations: null } }, headers: MERGE });
  assert.equal(at(removed.body, 'metadata', 'annotations'), undefined);
  assert.equal(
    (await client.call('PATCH', path, { body: [{ ...operation, op: 'remove' }], headers: JSON_PATCH })).status,
    422,
  );
  assert.equal(
    (await client.call('PATCH', path, { headers: { 'content-type': 'application/apply-patch+yaml' } })).status,
    415,
  );
});

test('strategic patches merge lists by their keys', async () => {
  put('one');
  const imagesAfter = async (containers: readonly JsonObject[]): Promise<string[]> => {
    const { body } = await client.call('PATCH', `${PODS}/one`, { body: { spec: { containers } }, headers: STRATEGIC });
    return listAt(body, 'spec', 'containers').map((container) => textAt(container, 'image'));
  };
  assert.deepEqual(await imagesAfter([{ name: 'side', image: 'car' }]), ['app', 'car']);
  assert.deepEqual(await imagesAfter([{ name: 'main', image: 'new' }]), ['new', 'car']);
  assert.deepEqual(await imagesAfter([{ name: 'side', $patch: 'delete' }]), ['new']);
});

test('a merge patch takes away the fields that it sets to null', async () => {
  put('one');
  await client.call('PATCH', `${PODS}/one`, { body: { metadata: { labels: { a: '1', b: '2' } } }, headers: MERGE });
  const { body } = await client.call('PATCH', `${PODS}/one`, {
    body: { metadata: { labels: { a: null } } },
    headers: MERGE,
  });
  assert.deepEqual(at(body, 'metadata', 'labels'), { b: '2' });
});

test('a rule for a resource does not open its subresources', async () => {
  put('one');
  const user = apiClient(api.identity('patcher', [{ apiGroups: [''], resources: ['pods'], verbs: ['patch'] }]));
  assert.equal((await user.call('PATCH', `${PODS}/one`, { body: annotated('reader'), headers: MERGE })).status, 200);
  assert.equal((await user.call('PATCH', `${PODS}/one/status`, { body: {}, headers: MERGE })).status, 403);
  user.close();
});

test('an update of an older version is a conflict; one that changes nothing makes no version', async () => {
  const old = put('one');
  const { body: same } = await client.call('PUT', `${PODS}/one`, { body: old });
  assert.equal(textAt(same, 'metadata', 'resourceVersion'), textAt(old, 'metadata', 'resourceVersion'));
  await client.call('PATCH', `${PODS}/one`, { body: annotated('reader'), headers: MERGE });
  const { status, body } = await client.call('PUT', `${PODS}/one`, { body: old });
  assert.deepEqual([status, textAt(body, 'reason')], [409, 'Conflict']);
  assert.match(
    textAt(body, 'message'),
    /the object has been modified; please apply your changes to the latest version/,
  );
});

test('the status changes through its own path only', async () => {
  put('one');
  const status = { status: { phase: 'Failed' } };
  const { body: ignored } = await client.call('PATCH', `${PODS}/one`, { body: status, headers: MERGE });
  assert.equal(textAt(ignored, 'status', 'phase'), 'Running');
  const both = { ...status, ...annotated('sneaked in') };
  const { body } = await client.call('PATCH', `${PODS}/one/status`, { body: both, headers: MERGE });
  assert.equal(textAt(body, 'status', 'phase'), 'Failed');
});

test('a dry run changes nothing', async () => {
  put('one');
  const { body } = await client.call('PATCH', `${PODS}/one?dryRun=All`, { body: annotated('reader'), headers: MERGE });
  assert.equal(roleOf(body), 'reader');
  await client.call('DELETE', `${PODS}/one?dryRun=All`);
  await client.call('POST', `${PODS}?dryRun=All`, { body: podObject('two') });
  assert.deepEqual(
    api.pods().map((pod) => [textAt(pod, 'metadata', 'name'), roleOf(pod)]),
    [['one', '']],
  );
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

test('a precondition that does not hold keeps the object', async () => {
  put('one');
  const { status } = await client.call('DELETE', `${PODS}/one`, { body: { preconditions: { uid: 'another' } } });
  assert.equal(status, 409);
  assert.notEqual(api.pod('default', 'one'), undefined);
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

test('a collection is deleted by selection', async () => {
  for (const name of ['one', 'two']) put(name);
  await client.call('DELETE', `${PODS}?fieldSelector=metadata.name%3Done`);
  assert.deepEqual(
    api.pods().map((pod) => textAt(pod, 'metadata', 'name')),
    ['two'],
  );
});

test('rules are enforced and refused in the words of the real server', async () => {
  const server = apiClient(api.identity('kiam-server', SERVER_RULES));
  const event = {
    metadata: { name: 'e' },
    involvedObject: { namespace: 'default', name: 'one' },
    reason: 'R',
    type: 'Warning',
  };
  const allowed: readonly [string, string, JsonObject | undefined][] = [
    ['GET', '/api/v1/pods', undefined],
    ['GET', '/api/v1/namespaces/default', undefined],
    ['POST', '/api/v1/namespaces/default/events', event],
    ['GET', '/version', undefined],
  ];
  for (const [method, path, body] of allowed) {
    const { status } = await server.call(method, path, body === undefined ? {} : { body });
    assert.ok(status < 300, `${method} ${path}: ${status}`);
  }
  const forbidden: readonly [string, string, string][] = [
    [
      'GET',
      '/api/v1/nodes',
      'nodes is forbidden: User "kiam-server" cannot list resource "nodes" in API group "" at the cluster scope',
    ],
    [
      'DELETE',
      `${PODS}/one`,
      'pods "one" is forbidden: User "kiam-server" cannot delete resource "pods" in API group "" in the namespace "default"',
    ],
    [
      'GET',
      '/api/v1/events?watch=1',
      'events is forbidden: User "kiam-server" cannot watch resource "events" in API group "" at the cluster scope',
    ],
    [
      'PUT',
      `${PODS}/one/status`,
      'pods "one" is forbidden: User "kiam-server" cannot update resource "pods/status" in API group "" in the namespace "default"',
    ],
    [
      'POST',
      '/apis/authentication.k8s.io/v1/tokenreviews',
      'tokenreviews.authentication.k8s.io is forbidden: User "kiam-server" cannot create resource "tokenreviews" in API group "authentication.k8s.io" at the cluster scope',
    ],
  ];
  for (const [method, path, message] of forbidden) {
    const { status, body } = await server.call(method, path, method === 'GET' ? {} : { body: {} });
    assert.deepEqual([status, textAt(body, 'message'), textAt(body, 'reason')], [403, message, 'Forbidden']);
  }
  server.close();
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

test('a token review tells whose token it is, for its audience and while its pod lives', async () => {
  const pod = put('one');
  const token = api.serviceAccountToken({
    namespace: 'default',
    serviceAccount: 'agent',
    audiences: ['kiam'],
    pod: { name: 'one', uid: textAt(pod, 'metadata', 'uid') },
    node: { name: 'node-1', uid: 'n1' },
  });
  const review = async (spec: JsonObject): Promise<JsonObject> => {
    const { body } = await client.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: { spec } });
    return body;
  };
  const good = await review({ token, audiences: ['kiam', 'other'] });
  assert.equal(at(good, 'status', 'authenticated'), true);
  assert.equal(textAt(good, 'status', 'user', 'username'), 'system:serviceaccount:default:agent');
  assert.deepEqual(at(good, 'status', 'user', 'extra', 'authentication.kubernetes.io/node-name'), ['node-1']);
  assert.deepEqual(at(good, 'status', 'user', 'extra', 'authentication.kubernetes.io/pod-name'), ['one']);
  assert.deepEqual(at(good, 'status', 'audiences'), ['kiam']);
  assert.equal(at(await review({ token }), 'status', 'authenticated'), false);
  assert.equal(at(await review({ token: 'wrong' }), 'status', 'authenticated'), false);
  api.removePod('default', 'one');
  assert.equal(at(await review({ token, audiences: ['kiam'] }), 'status', 'authenticated'), false);
});

test('a user may ask what it may do', async () => {
  const server = apiClient(api.identity('kiam-server', SERVER_RULES));
  const may = async (verb: string, resource: string): Promise<unknown> => {
    const body = { spec: { resourceAttributes: { verb, resource } } };
    return at(
      (await server.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body })).body,
      'status',
      'allowed',
    );
  };
  assert.deepEqual([await may('list', 'pods'), await may('delete', 'pods')], [true, false]);
  server.close();
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
