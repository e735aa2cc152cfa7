import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { at, type JsonObject, listAt, textAt, textsAt } from '#sandbox/json.ts';
import type { KubernetesApi } from '#sandbox/kubernetes-api/api.ts';
import { eventually } from '../../support/eventually.ts';
import { type ApiClient, apiClient } from '../../support/api-client.ts';
import { startApi } from './api-fixture.ts';

const PATH = '/apis/apps/v1/namespaces/kube-system/daemonsets';
const STRATEGIC = { 'content-type': 'application/strategic-merge-patch+json' };
const LIMIT_MS = 10_000;
const taint = { key: 'dedicated', effect: 'NoSchedule' };

let api: KubernetesApi;
let client: ApiClient;
beforeEach(async () => {
  api = await startApi({
    nodes: [
      { name: 'a', address: '127.0.0.1', labels: { kind: 'worker' } },
      { name: 'b', address: '127.0.0.2', labels: { kind: 'worker' } },
      { name: 'c', address: '127.0.0.3', taints: [taint] },
    ],
    // Whoever runs the containers says when they are ready: here the test.
    onPodRunning: () => Promise.resolve('unready'),
  });
  client = apiClient(api.adminKubeconfig());
});
afterEach(async () => {
  client.close();
  await api.close();
});

function daemonSet(image: string, more: { spec?: JsonObject; pod?: JsonObject } = {}): JsonObject {
  const labels = { app: 'kiam' };
  return {
    metadata: { name: 'kiam' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'kiam', image }], ...more.pod } },
      ...more.spec,
    },
  };
}

/** `node:image`, with a star for a pod that is ready. */
function pods(): string[] {
  const shown = api.pods().map((pod) => {
    const ready = listAt(pod, 'status', 'conditions').some((condition) => isReady(condition));
    return `${textAt(pod, 'spec', 'nodeName')}:${textAt(pod, 'spec', 'containers', 0, 'image')}${ready ? '*' : ''}`;
  });
  return shown.toSorted();
}

function isReady(condition: unknown): boolean {
  return JSON.stringify(condition).includes('"type":"Ready","status":"True"');
}

function makeReady(nodeName: string): void {
  const pod = api.pods().find((one) => textAt(one, 'spec', 'nodeName') === nodeName);
  const conditions = [{ type: 'Ready', status: 'True' }];
  api.patchPod('kube-system', textAt(pod, 'metadata', 'name'), { status: { conditions } });
}

const shows = (wanted: readonly string[]): Promise<number> =>
  eventually(wanted.join(' '), LIMIT_MS, () => {
    const hasAddresses = api.pods().every((pod) => textAt(pod, 'status', 'podIP') !== '');
    return hasAddresses && JSON.stringify(pods()) === JSON.stringify(wanted);
  });

async function create(body: JsonObject): Promise<void> {
  assert.equal((await client.call('POST', PATH, { body })).status, 201);
}

async function patch(body: JsonObject): Promise<void> {
  assert.equal((await client.call('PATCH', `${PATH}/kiam`, { body, headers: STRATEGIC })).status, 200);
}

const imagePatch = (image: string): JsonObject => ({
  spec: { template: { spec: { containers: [{ name: 'kiam', image }] } } },
});

test('a DaemonSet has a pod on each node that admits it', async () => {
  await create(daemonSet('one'));
  await shows(['a:one', 'b:one']);
  await patch({ spec: { template: { spec: { tolerations: [{ operator: 'Exists' }] } } } });
  await shows(['a:one', 'b:one', 'c:one']);
  await patch({ spec: { template: { spec: { nodeSelector: { kind: 'worker' } } } } });
  await shows(['a:one', 'b:one']);
  const terms = [{ matchExpressions: [{ key: 'kind', operator: 'DoesNotExist' }] }];
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } };
  await patch({ spec: { template: { spec: { nodeSelector: null, affinity: { nodeAffinity } } } } });
  await shows(['c:one']);
});

test('its pods are replaced one after another, each when the one before is ready', async () => {
  await create(daemonSet('one'));
  await shows(['a:one', 'b:one']);
  makeReady('a');
  makeReady('b');
  await shows(['a:one*', 'b:one*']);
  await patch(imagePatch('two'));
  await shows(['a:two', 'b:one*']);
  const { body } = await client.call('GET', `${PATH}/kiam`);
  assert.deepEqual(
    [at(body, 'metadata', 'generation'), at(body, 'status', 'observedGeneration')],
    [2, 2],
    'the status is of the change',
  );
  assert.deepEqual(
    [at(body, 'status', 'updatedNumberScheduled'), at(body, 'status', 'numberAvailable')],
    [1, 1],
    'one is new and one is there',
  );
  makeReady('a');
  await shows(['a:two*', 'b:two']);
});

test('with OnDelete they stay until they are deleted', async () => {
  await create(daemonSet('one', { spec: { updateStrategy: { type: 'OnDelete' } } }));
  await shows(['a:one', 'b:one']);
  await patch(imagePatch('two'));
  const [first] = api.pods();
  api.deletePod('kube-system', textAt(first, 'metadata', 'name'));
  await shows(textAt(first, 'spec', 'nodeName') === 'a' ? ['a:two', 'b:one'] : ['a:one', 'b:two']);
});

test('each template is kept as a ControllerRevision, and all goes with the DaemonSet', async () => {
  await create(daemonSet('one'));
  await shows(['a:one', 'b:one']);
  await patch(imagePatch('two'));
  await shows(['a:two', 'b:two']);
  await patch(imagePatch('one'));
  await shows(['a:one', 'b:one']);
  const revisions = async (): Promise<readonly (readonly [string, unknown])[]> => {
    const { body } = await client.call('GET', '/apis/apps/v1/controllerrevisions');
    return listAt(body, 'items').map((item) => [
      textAt(item, 'data', 'spec', 'template', 'spec', 'containers', 0, 'image'),
      at(item, 'revision'),
    ]);
  };
  assert.deepEqual((await revisions()).toSorted(), [
    ['one', 3],
    ['two', 2],
  ]);
  assert.equal((await client.call('DELETE', `${PATH}/kiam`)).status, 200);
  await shows([]);
  assert.deepEqual(await revisions(), []);
});

test('a service account may do what a ClusterRoleBinding gives it', async () => {
  const account = apiClient(api.serviceAccountKubeconfig({ namespace: 'kube-system', serviceAccount: 'kiam-server' }));
  const list = async (): Promise<number> => (await account.call('GET', '/api/v1/pods')).status;
  assert.equal(await list(), 403);
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  await client.call('POST', `${rbac}/clusterroles`, {
    body: { metadata: { name: 'read' }, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }] },
  });
  await client.call('POST', `${rbac}/clusterrolebindings`, {
    body: {
      metadata: { name: 'read' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'read' },
      subjects: [{ kind: 'ServiceAccount', name: 'kiam-server', namespace: 'kube-system' }],
    },
  });
  assert.equal(await list(), 200);
  assert.equal((await account.call('GET', '/api/v1/namespaces')).status, 403);
  account.close();
});

test('a Secret keeps what was given as text, and is found by its name', async () => {
  const body = { metadata: { name: 'tls' }, stringData: { 'ca.pem': 'text' } };
  await client.call('POST', '/api/v1/namespaces/kube-system/secrets', { body });
  assert.deepEqual(textsAt(api.secret('kube-system', 'tls'), 'data'), { 'ca.pem': 'dGV4dA==' });
});

test('a Service has the addresses of its ready pods', async () => {
  const seen: (readonly string[] | undefined)[] = [];
  api.followServices((addresses) => seen.push(addresses.get('kiam.kube-system')));
  const body = { metadata: { name: 'kiam' }, spec: { clusterIP: 'None', selector: { app: 'kiam' } } };
  await client.call('POST', '/api/v1/namespaces/kube-system/services', { body });
  await create(daemonSet('one'));
  await shows(['a:one', 'b:one']);
  assert.deepEqual(seen.at(-1), []);
  makeReady('b');
  assert.deepEqual(seen.at(-1), [
    textAt(
      api.pods().find((pod) => textAt(pod, 'spec', 'nodeName') === 'b'),
      'status',
      'podIP',
    ),
  ]);
});
