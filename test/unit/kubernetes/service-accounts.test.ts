import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import test, { type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { Registry } from 'prom-client';

import type { PodRecord } from '#domain/pod.ts';
import { bindPod, type Binding, type ServiceAccountRecord } from '#domain/service-account.ts';
import { startKubernetes, type Kubernetes } from '#kubernetes/kubernetes.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { NamedCache } from '#kubernetes/named-cache.ts';
import { PodCache } from '#kubernetes/pod-cache.ts';
import { createPodParser } from '#kubernetes/pod-record.ts';
import { createServiceAccountParser, serviceAccountsDiffer } from '#kubernetes/service-account-record.ts';

import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger, type LogLine } from '../../support/recording-logger.ts';
import { listOf, scriptedApi, type OpenBody, type PendingCall, type ScriptedApi } from '../../support/scripted-api.ts';
import { until } from '../../support/until.ts';
import { podObject, serviceAccountObject } from './objects.ts';

const ARN = 'arn:aws:iam::123456789012:role/';
const EKS = 'eks.amazonaws.com/role-arn';
const ROLE = 'iam.amazonaws.com/role';
const PODS = '/api/v1/pods';
const NAMESPACES = '/api/v1/namespaces';
const ACCOUNTS = '/api/v1/serviceaccounts';

interface Scene {
  readonly api: ScriptedApi;
  readonly clock: ManualClock;
  readonly kubernetes: Kubernetes;
  readonly lines: LogLine[];
  readonly isReady: () => boolean;
}

function scene(context: TestContext, binding: Binding): Scene {
  const clock = new ManualClock();
  const api = scriptedApi(clock);
  const { logger, lines } = recordingLogger();
  const controller = new AbortController();
  const metrics = createKubernetesMetrics(new Registry());
  const options = { connection: api, clock, logger, metrics, signal: controller.signal, syncMs: 0, binding };
  const kubernetes = startKubernetes(options);
  let ready = false;
  void kubernetes.ready.then(() => (ready = true));
  context.after(async () => {
    controller.abort();
    await kubernetes.ended;
  });
  return { api, clock, kubernetes, lines, isReady: () => ready };
}

/** Answers the lists of pods and namespaces, and returns the list of ServiceAccounts. */
async function listed({ api }: Scene, pods: readonly unknown[]): Promise<PendingCall> {
  (await api.next('list', PODS)).answer(200, listOf('100', pods));
  (await api.next('list', NAMESPACES)).answer(200, listOf('100', []));
  return api.next('list', ACCOUNTS);
}

/** A view of pods and these ServiceAccounts, and the open watch of the latter. */
async function watching(it: Scene, pods: readonly unknown[], accounts: readonly unknown[]): Promise<OpenBody> {
  (await listed(it, pods)).answer(200, listOf('100', accounts));
  const body = (await it.api.next('watch', ACCOUNTS)).open();
  await until(it.isReady, 'all lists');
  return body;
}

const roleOf = ({ kubernetes }: Scene, name: string): string | undefined =>
  kubernetes.pods.byName('default', name)?.role;

const app = (name: string, role = ''): unknown =>
  podObject({ name, role, serviceAccount: 'app', annotations: role === '' ? {} : { [ROLE]: role } });

test('Pods have the role of their ServiceAccount as soon as the watch tells of it, and until it tells of its end.', async (context) => {
  const it = scene(context, 'both');
  const body = await watching(it, [app('a'), app('own', 'mine')], [serviceAccountObject({ name: 'app' })]);
  const changes: (readonly [string | undefined, string | undefined])[] = [];
  it.kubernetes.pods.subscribe(({ previous, current }) => changes.push([previous?.role, current?.role]));
  const tell = async (type: string, version: number, annotations: Record<string, string>): Promise<void> => {
    body.event(type, serviceAccountObject({ name: 'app', version, annotations }));
    await settle();
  };
  await tell('MODIFIED', 101, { [EKS]: `${ARN}app` });
  assert.equal(roleOf(it, 'a'), `${ARN}app`);
  assert.equal(it.kubernetes.pods.byName('default', 'a')?.roleSource, 'service-account');
  await tell('MODIFIED', 102, { [ROLE]: 'short', [EKS]: `${ARN}app` });
  assert.equal(roleOf(it, 'a'), 'short');
  await tell('DELETED', 103, {});
  assert.equal(roleOf(it, 'a'), '');
  assert.equal(roleOf(it, 'own'), 'mine');
  assert.deepEqual(changes, [
    ['', `${ARN}app`],
    [`${ARN}app`, 'short'],
    ['short', ''],
    // The UID of its ServiceAccount is gone.
    ['mine', 'mine'],
  ]);
});

test('A pod that changes keeps the role of its ServiceAccount, and a new one has it from the start.', async (context) => {
  const it = scene(context, 'both');
  const account = serviceAccountObject({ name: 'app', annotations: { [ROLE]: 'given' } });
  await watching(it, [app('a')], [account]);
  const body = (await it.api.next('watch', PODS)).open();
  body.event(
    'MODIFIED',
    podObject({ name: 'a', serviceAccount: 'app', annotations: {}, ip: '192.0.2.1', version: 120 }),
  );
  body.event('ADDED', podObject({ name: 'b', serviceAccount: 'app', annotations: {}, version: 121 }));
  await until(() => roleOf(it, 'b') !== undefined, 'the new pod');
  assert.deepEqual([roleOf(it, 'a'), roleOf(it, 'b')], ['given', 'given']);
  const lookup = it.kubernetes.pods.find('192.0.2.1');
  assert.equal(lookup.kind === 'found' ? lookup.pod.role : lookup.kind, 'given');
});

test('A ServiceAccount of the same name in another namespace gives nothing.', async (context) => {
  const it = scene(context, 'both');
  const other = serviceAccountObject({ name: 'app', namespace: 'other', annotations: { [ROLE]: 'given' } });
  await watching(it, [app('a')], [other]);
  assert.equal(roleOf(it, 'a'), '');
});

test('With --binding=pod no ServiceAccount is asked for.', async (context) => {
  const it = scene(context, 'pod');
  (await it.api.next('list', PODS)).answer(200, listOf('100', [app('own', 'mine')]));
  (await it.api.next('list', NAMESPACES)).answer(200, listOf('100', []));
  await until(it.isReady, 'the lists');
  assert.equal(roleOf(it, 'own'), 'mine');
  assert.ok(it.api.calls.every(({ request }) => request.path !== ACCOUNTS));
});

/** Forbids the list of ServiceAccounts for so long. */
async function forbid(it: Scene, first: PendingCall, durationMs: number): Promise<void> {
  let call: PendingCall | undefined = first;
  for (let waitedMs = 0; waitedMs < durationMs; waitedMs += 500) {
    call?.answer(403, { kind: 'Status', message: 'serviceaccounts is forbidden' });
    await it.clock.advance(500);
    call = it.api.isWaiting('list', ACCOUNTS) ? await it.api.next('list', ACCOUNTS) : undefined;
  }
}

test('Where ServiceAccounts stay forbidden, as by the RBAC rules of Kiam, pods’ own annotations count after 10 seconds.', async (context) => {
  const it = scene(context, 'both');
  const list = await listed(it, [app('own', 'mine'), app('a')]);
  await forbid(it, list, 9_000);
  assert.equal(it.isReady(), false);
  await forbid(it, await nextAccounts(it), 6_000);
  await until(it.isReady, 'readiness without ServiceAccounts');
  assert.deepEqual([roleOf(it, 'own'), roleOf(it, 'a')], ['mine', '']);
  assert.equal(it.kubernetes.status().serviceAccounts, undefined);
  assert.ok(it.lines.some(({ fields }) => fields['resource'] === 'serviceaccounts' && fields['status'] === 403));
  (await nextAccounts(it)).answer(
    200,
    listOf('100', [serviceAccountObject({ name: 'app', annotations: { [ROLE]: 'given' } })]),
  );
  await until(() => roleOf(it, 'a') === 'given', 'what was allowed later');
});

async function nextAccounts(it: Scene): Promise<PendingCall> {
  while (!it.api.isWaiting('list', ACCOUNTS)) await it.clock.advance(500);
  return it.api.next('list', ACCOUNTS);
}

test('With --binding=serviceaccount nothing is ready until ServiceAccounts are known.', async (context) => {
  const it = scene(context, 'serviceaccount');
  const list = await listed(it, [app('own', 'mine')]);
  await forbid(it, list, 60_000);
  assert.equal(it.isReady(), false);
});

test('Of a ServiceAccount what counts is kept, tags of the session whole or not at all.', () => {
  const annotations = {
    [ROLE]: 'app',
    [EKS]: `${ARN}app`,
    'iam.amazonaws.com/session-tag.team': 'payments',
    'iam.amazonaws.com/session-tag.cost': 'x'.repeat(513),
    'kubectl.kubernetes.io/last-applied-configuration': 'y'.repeat(10_000),
  };
  const record = createServiceAccountParser(['team', 'cost'])(serviceAccountObject({ name: 'app', annotations }));
  assert.deepEqual(
    [record?.name, record?.namespace, record?.uid, record?.role, record?.eksRole],
    ['app', 'default', 'uid-of-account-app', 'app', `${ARN}app`],
  );
  const [cost, team] = record?.sessionTags ?? [];
  assert.deepEqual(team, ['team', 'payments']);
  assert.ok(cost?.[0] === 'cost' && cost[1].length > 256 && !cost[1].includes('x'));
  const many = Object.fromEntries(
    Array.from({ length: 60 }, (_, index) => [`iam.amazonaws.com/session-tag.k${index}`, 'v']),
  );
  assert.equal(
    createServiceAccountParser(Array.from({ length: 60 }, (_, index) => `k${index}`))(
      serviceAccountObject({ name: 'app', annotations: many }),
    )?.sessionTags.length,
    51,
  );
  assert.equal(createServiceAccountParser([])({ metadata: { name: 'x' } }), undefined);
});

const MANY = 10_000;

test('Ten thousand ServiceAccounts cost less than a KiB each, and hold up nobody.', async () => {
  const parse = createServiceAccountParser(['team']);
  const { logger } = recordingLogger();
  const cache = new NamedCache<ServiceAccountRecord>({
    logger,
    resource: 'serviceaccounts',
    differ: serviceAccountsDiffer,
  });
  const before = heapBytes();
  const records: ServiceAccountRecord[] = [];
  for (let index = 0; index < MANY; index += 1) {
    // As text, as it comes: what is kept must not hold on to it.
    const annotations = { [EKS]: `${ARN}app-${index}`, 'iam.amazonaws.com/session-tag.team': `team-${index % 100}` };
    const account = serviceAccountObject({
      name: `app-${index}`,
      namespace: `team-${index % 100}`,
      version: index + 1,
      annotations,
    });
    const record = parse(JSON.parse(JSON.stringify(account)));
    if (record !== undefined) records.push(record);
  }
  await cache.target.replace(records.splice(0));
  const bytes = (heapBytes() - before) / MANY;
  assert.equal(cache.target.size, MANY);
  assert.ok(bytes <= 1024, `${bytes.toFixed(0)} bytes for each`);
});

test('Of ten thousand pods with a hostile annotation none has its role with --binding=serviceaccount, and a change of their ServiceAccount stalls nothing.', async () => {
  const parse = createPodParser();
  const { logger } = recordingLogger();
  const accounts = new Map<string, ServiceAccountRecord>();
  const pods = new PodCache({
    logger,
    bind: (pod) => bindPod(pod, accounts.get(pod.serviceAccount), { binding: 'serviceaccount', allowedTags: [] }),
  });
  const records: PodRecord[] = [];
  for (let index = 0; index < MANY; index += 1) {
    const annotations = {
      [ROLE]: `victim-${index}`,
      'iam.amazonaws.com/external-id': 'x',
      'iam.amazonaws.com/session-name': 'y',
    };
    const pod = parse(podObject({ name: `pod-${index}`, serviceAccount: 'app', annotations, version: index + 1 }));
    if (pod !== undefined) records.push(pod);
  }
  await pods.replace(records);
  const won = (): number => [...pods.pods()].filter(({ role }) => role !== (accounts.get('app')?.role ?? '')).length;
  assert.equal(won(), 0);
  assert.ok([...pods.pods()].every(({ externalId, sessionName }) => externalId === '' && sessionName === ''));
  const account = createServiceAccountParser([])(
    serviceAccountObject({ name: 'app', annotations: { [ROLE]: 'given' } }),
  );
  assert.ok(account !== undefined);
  accounts.set('app', account);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await pods.rebind('default', 'app');
  delay.disable();
  assert.equal(won(), 0);
  assert.ok(delay.max / 1e6 < 100, `${(delay.max / 1e6).toFixed(0)} ms`);
});

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') for (let turn = 0; turn < 3; turn += 1) collect();
  return process.memoryUsage().heapUsed;
}
