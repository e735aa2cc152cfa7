import assert from 'node:assert/strict';
import { test } from 'node:test';

import { at, type JsonObject, listAt, textAt } from '#sandbox/json.ts';
import type { Rule } from '#sandbox/kubernetes-api/access.ts';

import type { ApiClient, OpenWatch, WatchEvent } from '../support/api-client.ts';

/** An API of Kubernetes without a kubelet and without controllers, which are not part of the contract. */
export interface ApiUnderTest {
  /** May do everything. */
  readonly admin: ApiClient;
  /** A new user with these rules alone; `userName` is what the API calls it. */
  readonly user: (rules: readonly Rule[]) => Promise<{ readonly userName: string; readonly client: ApiClient }>;
  /** A client whose token nobody issued. */
  readonly stranger: ApiClient;
  /** A token of the service account `default` of the namespace, bound to the pod. */
  readonly podToken: (options: {
    namespace: string;
    audience: string;
    pod: { name: string; uid: string };
  }) => Promise<string>;
  /** Resolves once the API has forgotten everything before now that a list could go on from. */
  readonly compact: () => Promise<void>;
}

export const NODE_NAME = 'contract-node';
const MERGE = { 'content-type': 'application/merge-patch+json' };
const STRATEGIC = { 'content-type': 'application/strategic-merge-patch+json' };
const JSON_PATCH = { 'content-type': 'application/json-patch+json' };
const ROLE = 'iam.amazonaws.com/role';
const MIRROR = 'kubernetes.io/config.mirror';

function podObject(name: string, metadata: JsonObject = {}): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    // Bound to a node already: a pod without one is deleted at once, whatever its grace period.
    spec: { nodeName: NODE_NAME, serviceAccountName: 'default', containers: [{ name: 'main', image: 'app' }] },
  };
}

const annotated = (role: string): JsonObject => ({ metadata: { annotations: { [ROLE]: role } } });
const roleOf = (pod: JsonObject): string => textAt(pod, 'metadata', 'annotations', ROLE);
const nameOf = (object: JsonObject): string => textAt(object, 'metadata', 'name');
const versionOf = (object: JsonObject): string => textAt(object, 'metadata', 'resourceVersion');

let made = 0;

/** A namespace of a test's own. */
interface Place {
  readonly namespace: string;
  /** The path of its pods. */
  readonly pods: string;
  /** Makes a pod that runs. */
  readonly put: (name: string, metadata?: JsonObject) => Promise<JsonObject>;
  readonly patch: (name: string, body: JsonObject) => Promise<JsonObject>;
  readonly remove: (name: string) => Promise<void>;
}

async function place(admin: ApiClient): Promise<Place> {
  made += 1;
  const namespace = `contract-${process.pid}-${made}`;
  await admin.demand('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  return {
    namespace,
    pods,
    put: async (name, metadata) => {
      await admin.demand('POST', pods, podObject(name, metadata));
      return admin.demand('PATCH', `${pods}/${name}/status`, { status: { phase: 'Running' } });
    },
    patch: async (name, body) => {
      const answer = await admin.call('PATCH', `${pods}/${name}`, { body, headers: MERGE });
      assert.equal(answer.status, 200);
      return answer.body;
    },
    remove: async (name) => {
      await admin.demand('DELETE', `${pods}/${name}?gracePeriodSeconds=0`);
    },
  };
}

async function nextEvent(watch: OpenWatch): Promise<WatchEvent> {
  const event = await watch.next();
  if (typeof event === 'string') assert.fail(`the watch was over: ${event}`);
  return event;
}

async function nextTypes(watch: OpenWatch, count: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) {
    const { type, object } = await nextEvent(watch);
    if (type !== 'BOOKMARK') seen.push(`${type} ${nameOf(object)}`);
  }
  return seen;
}

/** Declares the tests that the stand-in and the API server of Kubernetes must both pass. `api` is asked when they run. */
export function describeKubernetesApi(api: () => ApiUnderTest): void {
  describeObjects(api);
  describePatches(api);
  describeDeletion(api);
  describeAccess(api);
  describeListAndWatch(api);
}

function describeObjects(api: () => ApiUnderTest): void {
  test('a created pod has what the API adds', async () => {
    const { admin } = api();
    const { pods } = await place(admin);
    const { status, body } = await admin.call('POST', pods, {
      body: podObject('one', { annotations: { [ROLE]: 'r' } }),
    });
    assert.equal(status, 201);
    assert.match(textAt(body, 'metadata', 'uid'), /^[0-9a-f-]{36}$/);
    assert.match(versionOf(body), /^\d+$/);
    assert.match(textAt(body, 'metadata', 'creationTimestamp'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.deepEqual([textAt(body, 'status', 'phase'), roleOf(body)], ['Pending', 'r']);
  });

  test('an object that must not be created is refused with its status and reason', async () => {
    const { admin } = api();
    const { namespace, pods, put } = await place(admin);
    await put('taken');
    const cases: readonly [string, JsonObject, number, string][] = [
      ['/api/v1/namespaces/contract-missing/pods', podObject('one'), 404, 'NotFound'],
      [pods, podObject('taken'), 409, 'AlreadyExists'],
      [pods, podObject('Not_A_Name'), 422, 'Invalid'],
      [pods, podObject(''), 422, 'Invalid'],
      [pods, { metadata: { name: 'empty' }, spec: {} }, 422, 'Invalid'],
      [pods, podObject('one', { namespace: 'other' }), 400, 'BadRequest'],
      [pods, { ...podObject('one'), kind: 'Secret' }, 400, 'BadRequest'],
      [pods, podObject('one', { annotations: { number: 1 } }), 400, 'BadRequest'],
      [pods, podObject('one', { annotations: { long: 'x'.repeat(256 * 1024) } }), 422, 'Invalid'],
      ['/api/v1/namespaces', { metadata: { name: 'two.words' } }, 422, 'Invalid'],
    ];
    for (const [path, body, status, reason] of cases) {
      const answer = await admin.call('POST', path, { body });
      const said = [answer.status, textAt(answer.body, 'reason'), textAt(answer.body, 'kind'), at(answer.body, 'code')];
      assert.deepEqual(said, [status, reason, 'Status', status], `${path} in ${namespace}: ${nameOf(body)}`);
    }
  });

  test('a name is generated where one is asked for', async () => {
    const { admin } = api();
    const { pods } = await place(admin);
    const body = { ...podObject(''), metadata: { generateName: 'web-' } };
    const answer = await admin.call('POST', pods, { body });
    assert.match(nameOf(answer.body), /^web-[a-z0-9]{5}$/);
  });

  test('an update of an older version is a conflict, and one that changes nothing makes no version', async () => {
    const { admin } = api();
    const { pods, put, patch } = await place(admin);
    const old = await put('one');
    const { body: same } = await admin.call('PUT', `${pods}/one`, { body: old });
    assert.equal(versionOf(same), versionOf(old));
    await patch('one', annotated('reader'));
    const { status, body } = await admin.call('PUT', `${pods}/one`, { body: old });
    assert.deepEqual([status, textAt(body, 'reason')], [409, 'Conflict']);
    assert.match(
      textAt(body, 'message'),
      /the object has been modified; please apply your changes to the latest version/,
    );
  });

  test('the status changes through its own path only', async () => {
    const { admin } = api();
    const { pods, put, patch } = await place(admin);
    await put('one');
    const status = { status: { phase: 'Failed' } };
    assert.equal(textAt(await patch('one', status), 'status', 'phase'), 'Running');
    const { body } = await admin.call('PATCH', `${pods}/one/status`, { body: status, headers: MERGE });
    assert.equal(textAt(body, 'status', 'phase'), 'Failed');
  });

  test('annotations change through the path of the status as well', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const { body } = await admin.call('PATCH', `${pods}/one/status`, { body: annotated('planted'), headers: MERGE });
    assert.equal(roleOf(body), 'planted');
  });

  test('a dry run changes nothing', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const { body } = await admin.call('PATCH', `${pods}/one?dryRun=All`, { body: annotated('reader'), headers: MERGE });
    assert.equal(roleOf(body), 'reader');
    await admin.call('DELETE', `${pods}/one?dryRun=All`);
    await admin.call('POST', `${pods}?dryRun=All`, { body: podObject('two') });
    const { body: list } = await admin.call('GET', pods);
    assert.deepEqual(
      listAt(list, 'items').map((pod) => [
        textAt(pod, 'metadata', 'name'),
        textAt(pod, 'metadata', 'annotations', ROLE),
      ]),
      [['one', '']],
    );
  });

  test('malformed requests are refused and harm nothing', async () => {
    const { admin } = api();
    const { pods } = await place(admin);
    const cases: readonly [string, string, number][] = [
      ['POST', pods, 400],
      ['GET', `${pods}/a/b/c/d`, 404],
      ['GET', '/apis/none.example.com/v1/things', 404],
      ['GET', `${pods}/__proto__`, 404],
    ];
    for (const [method, path, status] of cases)
      assert.equal((await admin.call(method, path)).status, status, `${method} ${path}`);
    assert.equal((await admin.call('GET', '/version')).status, 200);
  });
}

function describePatches(api: () => ApiUnderTest): void {
  test('patches of every kind change what they say and nothing else', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const path = `${pods}/one`;
    await admin.call('PATCH', path, { body: annotated('reader'), headers: MERGE });
    await admin.call('PATCH', path, { body: { metadata: { labels: { a: 'b' } } }, headers: STRATEGIC });
    const operation = { op: 'replace', path: '/metadata/annotations/iam.amazonaws.com~1role', value: 'writer' };
    const { body } = await admin.call('PATCH', path, { body: [operation], headers: JSON_PATCH });
    assert.deepEqual([roleOf(body), at(body, 'metadata', 'labels')], ['writer', { a: 'b' }]);
    const removed = await admin.call('PATCH', path, { body: { metadata: { annotations: null } }, headers: MERGE });
    assert.equal(at(removed.body, 'metadata', 'annotations'), undefined);
    const again = await admin.call('PATCH', path, { body: [{ ...operation, op: 'remove' }], headers: JSON_PATCH });
    assert.equal(again.status, 422);
    const unknown = await admin.call('PATCH', path, { headers: { 'content-type': 'text/plain' } });
    assert.equal(unknown.status, 415);
  });

  test('the mark of a mirror pod is never added, changed or removed, and other annotations change by the status too', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('plain');
    await put('mirror', { annotations: { [MIRROR]: 'hash' } });
    const marks: readonly (readonly [string, string | null])[] = [
      ['plain', 'hash'],
      ['mirror', 'other'],
      ['mirror', null],
    ];
    for (const [name, value] of marks) {
      for (const path of [`${pods}/${name}`, `${pods}/${name}/status`]) {
        const body = { metadata: { annotations: { [MIRROR]: value } } };
        const answer = await admin.call('PATCH', path, { body, headers: MERGE });
        assert.deepEqual([answer.status, textAt(answer.body, 'reason')], [422, 'Invalid'], path);
        assert.match(textAt(answer.body, 'message'), /mirror pod annotation$/);
      }
    }
    const answer = await admin.call('PATCH', `${pods}/plain/status`, { body: annotated('admin'), headers: MERGE });
    assert.deepEqual([answer.status, roleOf(answer.body)], [200, 'admin']);
  });

  test('a merge patch removes the fields that it sets to null', async () => {
    const { put, patch } = await place(api().admin);
    await put('one', { labels: { a: '1', b: '2' } });
    assert.deepEqual(at(await patch('one', { metadata: { labels: { a: null } } }), 'metadata', 'labels'), { b: '2' });
  });

  test('strategic patches merge lists by their keys', async () => {
    const { admin } = api();
    const { namespace } = await place(admin);
    const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets`;
    const labels = { app: 'one' };
    await admin.demand('POST', path, {
      metadata: { name: 'one' },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'app' }] } },
      },
    });
    const imagesAfter = async (...containers: readonly JsonObject[]): Promise<string[]> => {
      const body = { spec: { template: { spec: { containers } } } };
      const answer = await admin.call('PATCH', `${path}/one`, { body, headers: STRATEGIC });
      const images = listAt(answer.body, 'spec', 'template', 'spec', 'containers');
      return images.map((container) => textAt(container, 'image')).sort();
    };
    assert.deepEqual(await imagesAfter({ name: 'side', image: 'car' }), ['app', 'car']);
    assert.deepEqual(await imagesAfter({ name: 'main', image: 'new' }), ['car', 'new']);
    assert.deepEqual(await imagesAfter({ name: 'side', $patch: 'delete' }), ['new']);
  });
}

function describeDeletion(api: () => ApiUnderTest): void {
  test('a deleted pod terminates first, and goes at once when its grace period is zero', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const { body } = await admin.call('DELETE', `${pods}/one`);
    assert.notEqual(textAt(body, 'metadata', 'deletionTimestamp'), '');
    assert.equal(at(body, 'metadata', 'deletionGracePeriodSeconds'), 30);
    assert.equal((await admin.call('GET', `${pods}/one`)).status, 200);
    await admin.call('DELETE', `${pods}/one`, { body: { gracePeriodSeconds: 0 } });
    assert.equal((await admin.call('GET', `${pods}/one`)).status, 404);
    assert.equal((await admin.call('DELETE', `${pods}/one`)).status, 404);
  });

  test('a precondition that does not hold keeps the object', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const body = { preconditions: { uid: '00000000-0000-0000-0000-000000000000' } };
    assert.equal((await admin.call('DELETE', `${pods}/one`, { body })).status, 409);
    assert.equal(textAt((await admin.call('GET', `${pods}/one`)).body, 'metadata', 'deletionTimestamp'), '');
  });

  test('finalizers keep an object until they are removed', async () => {
    const { admin } = api();
    const { pods, put, remove, patch } = await place(admin);
    await put('one', { finalizers: ['example.com/hold'] });
    await remove('one');
    const { body } = await admin.call('GET', `${pods}/one`);
    assert.notEqual(textAt(body, 'metadata', 'deletionTimestamp'), '');
    await patch('one', { metadata: { finalizers: null } });
    assert.equal((await admin.call('GET', `${pods}/one`)).status, 404);
  });

  test('a namespace that is being deleted takes nothing new', async () => {
    const { admin } = api();
    const { namespace, pods, put } = await place(admin);
    await put('held', { finalizers: ['example.com/hold'] });
    const { body } = await admin.call('DELETE', `/api/v1/namespaces/${namespace}`);
    assert.equal(textAt(body, 'status', 'phase'), 'Terminating');
    assert.equal((await admin.call('POST', pods, { body: podObject('late') })).status, 403);
  });

  test('a collection is deleted by selection', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    for (const name of ['one', 'two']) await put(name);
    await admin.call('DELETE', `${pods}?fieldSelector=metadata.name%3Done&gracePeriodSeconds=0`);
    const { body } = await admin.call('GET', pods);
    assert.deepEqual(
      listAt(body, 'items').map((pod) => textAt(pod, 'metadata', 'name')),
      ['two'],
    );
  });
}

function describeAccess(api: () => ApiUnderTest): void {
  test('what no rule allows is refused in the words of Kubernetes', async () => {
    const { admin, user } = api();
    const { namespace, pods, put } = await place(admin);
    await put('one');
    const rule = { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'patch'] };
    const { client, userName } = await user([rule]);
    assert.equal((await client.call('GET', '/api/v1/pods')).status, 200);
    assert.equal((await client.call('PATCH', `${pods}/one`, { body: annotated('r'), headers: MERGE })).status, 200);
    const everywhere = 'at the cluster scope';
    const here = `in the namespace "${namespace}"`;
    const cases: readonly [string, string, string, string][] = [
      ['GET', '/api/v1/nodes', 'nodes is forbidden', `list resource "nodes" in API group "" ${everywhere}`],
      ['GET', '/api/v1/pods?watch=1', 'pods is forbidden', `watch resource "pods" in API group "" ${everywhere}`],
      ['DELETE', `${pods}/one`, 'pods "one" is forbidden', `delete resource "pods" in API group "" ${here}`],
      ['PUT', `${pods}/one/status`, 'pods "one" is forbidden', `update resource "pods/status" in API group "" ${here}`],
      [
        'POST',
        '/apis/authentication.k8s.io/v1/tokenreviews',
        'tokenreviews.authentication.k8s.io is forbidden',
        `create resource "tokenreviews" in API group "authentication.k8s.io" ${everywhere}`,
      ],
    ];
    for (const [method, path, subject, action] of cases) {
      const { status, body } = await client.call(method, path, method === 'GET' ? {} : { body: {} });
      const message = `${subject}: User "${userName}" cannot ${action}`;
      assert.deepEqual([status, textAt(body, 'message'), textAt(body, 'reason')], [403, message, 'Forbidden']);
    }
    client.close();
  });

  test('a token that nobody issued is no identity', async () => {
    assert.equal((await api().stranger.call('GET', '/api/v1/pods')).status, 401);
  });

  test('a user may ask what it may do', async () => {
    const { client } = await api().user([{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }]);
    const may = async (verb: string, resource: string): Promise<unknown> => {
      const body = { spec: { resourceAttributes: { verb, resource } } };
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
      return at((await client.call('POST', path, { body })).body, 'status', 'allowed');
    };
    assert.deepEqual([await may('list', 'pods'), await may('delete', 'pods')], [true, false]);
    client.close();
  });

  test('a token review tells whose token it is, for its audience and while its pod lives', async () => {
    const { admin, podToken } = api();
    const { namespace, put, remove } = await place(admin);
    const uid = textAt(await put('one'), 'metadata', 'uid');
    const token = await podToken({ namespace, audience: 'kiam', pod: { name: 'one', uid } });
    const review = async (spec: JsonObject): Promise<JsonObject> =>
      (await admin.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: { spec } })).body;
    const good = await review({ token, audiences: ['kiam', 'other'] });
    assert.equal(at(good, 'status', 'authenticated'), true);
    assert.equal(textAt(good, 'status', 'user', 'username'), `system:serviceaccount:${namespace}:default`);
    const extra = (name: string): unknown =>
      at(good, 'status', 'user', 'extra', `authentication.kubernetes.io/${name}`);
    assert.deepEqual([extra('node-name'), extra('pod-name'), extra('pod-uid')], [[NODE_NAME], ['one'], [uid]]);
    assert.deepEqual(at(good, 'status', 'audiences'), ['kiam']);
    for (const spec of [{ token }, { token: 'wrong' }, { token, audiences: ['other'] }])
      assert.notEqual(at(await review(spec), 'status', 'authenticated'), true);
    await remove('one');
    assert.notEqual(at(await review({ token, audiences: ['kiam'] }), 'status', 'authenticated'), true);
  });
}

function describeListAndWatch(api: () => ApiUnderTest): void {
  const pageOf = async (path: string, token: string): Promise<JsonObject> =>
    (await api().admin.call('GET', `${path}?limit=2&continue=${encodeURIComponent(token)}`)).body;
  const tokenOf = (page: JsonObject): string => textAt(page, 'metadata', 'continue');

  test('the pages of a list show one moment, whatever happens between them', async () => {
    const { pods, put, remove } = await place(api().admin);
    for (const name of ['a', 'b', 'c', 'd', 'e']) await put(name);
    const first = await pageOf(pods, '');
    await remove('c');
    await put('bb');
    const second = await pageOf(pods, tokenOf(first));
    const last = await pageOf(pods, tokenOf(second));
    const names = [first, second, last].flatMap((page) =>
      listAt(page, 'items').map((item) => textAt(item, 'metadata', 'name')),
    );
    assert.deepEqual(names, ['a', 'b', 'c', 'd', 'e']);
    assert.equal(new Set([first, second, last].map(versionOf)).size, 1);
    assert.equal(at(first, 'metadata', 'remainingItemCount'), 3);
    assert.equal(tokenOf(last), '');
  });

  test('a continue token has expired once its version is forgotten', async () => {
    const { admin, compact } = api();
    const { pods, put } = await place(admin);
    for (const name of ['a', 'b', 'c']) await put(name);
    const first = await pageOf(pods, '');
    await put('later');
    await compact();
    const { status, body } = await admin.call('GET', `${pods}?limit=2&continue=${encodeURIComponent(tokenOf(first))}`);
    assert.deepEqual([status, textAt(body, 'reason')], [410, 'Expired']);
  });

  test('a watch from the version of a list misses nothing and repeats nothing', async () => {
    const { admin } = api();
    const { pods, put, patch, remove } = await place(admin);
    await put('old');
    const { body: list } = await admin.call('GET', pods);
    await admin.demand('POST', pods, podObject('new'));
    await patch('old', annotated('reader'));
    const watch = await admin.watch(`${pods}?watch=1&resourceVersion=${versionOf(list)}`);
    await remove('new');
    // A pod is marked as terminating before it goes, also when it goes at once.
    assert.deepEqual(await nextTypes(watch, 4), ['ADDED new', 'MODIFIED old', 'MODIFIED new', 'DELETED new']);
    watch.close();
  });

  test('a watch without a version begins with what there is', async () => {
    const { admin } = api();
    const { pods, put } = await place(admin);
    await put('one');
    const watch = await admin.watch(`${pods}?watch=true`);
    await admin.demand('POST', pods, podObject('two'));
    assert.deepEqual(await nextTypes(watch, 2), ['ADDED one', 'ADDED two']);
    watch.close();
  });

  test('objects that enter or leave a selection are added and deleted for who watches it', async () => {
    const { admin } = api();
    const { pods, patch } = await place(admin);
    const watch = await admin.watch(
      `${pods}?watch=1&fieldSelector=spec.nodeName%3D${NODE_NAME}&labelSelector=app+in+(x,y),!gone`,
    );
    await admin.demand('POST', pods, podObject('one', { labels: { app: 'z' } }));
    for (const labels of [{ app: 'x' }, { app: 'y' }, { gone: '' }, { gone: null }, { app: 'z' }])
      await patch('one', { metadata: { labels } });
    const seen = ['ADDED one', 'MODIFIED one', 'DELETED one', 'ADDED one', 'DELETED one'];
    assert.deepEqual(await nextTypes(watch, 5), seen);
    watch.close();
  });

  test('versions and selectors that cannot be met are refused', async () => {
    const { admin } = api();
    const { pods } = await place(admin);
    const { body: list } = await admin.call('GET', pods);
    const cases: readonly [string, number][] = [
      [`${pods}?resourceVersion=999999999`, 504],
      [`${pods}?resourceVersion=abc`, 400],
      [`${pods}?resourceVersion=${versionOf(list)}&resourceVersionMatch=Exact`, 200],
      [`${pods}?resourceVersionMatch=Exact`, 422],
      [`${pods}?resourceVersion=0`, 200],
      [`${pods}?fieldSelector=spec.nonsense%3Dx`, 400],
      [`${pods}?labelSelector=a+like+b`, 400],
      [`${pods}?continue=rubbish`, 400],
    ];
    for (const [path, expected] of cases) assert.equal((await admin.call('GET', path)).status, expected, path);
  });
}
