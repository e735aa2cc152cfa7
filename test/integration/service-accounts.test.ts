import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ARN = 'arn:aws:iam::123456789012:role/';
const EKS = 'eks.amazonaws.com/role-arn';
const ROLE = 'iam.amazonaws.com/role';
const LIMIT_MS = 20_000;

/** The cluster, one server with these flags and its agent. */
interface Setting {
  readonly cluster: Cluster;
  readonly server: Daemon;
  readonly ask: (pod: WorldPod, path: string) => Promise<Answer>;
}

async function start(flags: readonly string[], rules = SERVER_RULES): Promise<Setting> {
  const cluster = await startCluster({ serverRules: rules });
  cluster.world.namespace('team', `${ARN}.*`);
  const server = await cluster.startServer({ flags });
  const agent = await cluster.startAgent(server.port);
  const ask = (pod: WorldPod, path: string): Promise<Answer> =>
    askHttp({ port: agent.port, from: pod.address, path: `${LISTING}${path}` });
  return { cluster, server, ask };
}

describe('roles by ServiceAccount', () => {
  let setting: Setting;
  let socket: string;
  let app: WorldPod;

  before(async () => {
    setting = await start([]);
    const { world } = setting.cluster;
    socket = join(world.folder, 'admin.sock');
    world.api.createServiceAccount('team', 'app', { [EKS]: `${ARN}reader` });
    app = await world.pod({ namespace: 'team', name: 'app', serviceAccount: 'app' });
  });
  after(() => setting?.cluster.close());

  const listing = async (pod: WorldPod): Promise<string> => {
    const { status, body } = await setting.ask(pod, '');
    return status === 200 ? body : String(status);
  };
  /** How long it takes until a pod is told this. */
  const within = async (pod: WorldPod, wanted: string): Promise<number> => {
    const startedMs = performance.now();
    while ((await listing(pod)) !== wanted && performance.now() - startedMs < LIMIT_MS) await pauseMs(10);
    return performance.now() - startedMs;
  };

  it('a manifest written for IRSA has its role, by an ARN', async () => {
    await eventually('the pod has its role', LIMIT_MS, async () => (await listing(app)) === `${ARN}reader`);
    const { status, body } = await setting.ask(app, `${ARN}reader`);
    assert.equal(status, 200);
    assert.equal(JSON.parse(body).Code, 'Success');
  });

  it('a change of the ServiceAccount reaches the agent within a second, and so does its end', async () => {
    const { api } = setting.cluster.world;
    const change = (annotations: Record<string, string | null>): unknown =>
      api.patchServiceAccount('team', 'app', { metadata: { annotations } });
    change({ [ROLE]: 'writer' });
    assert.ok((await within(app, 'writer')) < 1000);
    change({ [ROLE]: null, [EKS]: null });
    assert.ok((await within(app, '404')) < 1000);
    assert.equal((await setting.ask(app, 'writer')).status, 404);
    change({ [ROLE]: 'reader' });
    assert.ok((await within(app, 'reader')) < 1000);
    api.deleteServiceAccount('team', 'app');
    assert.ok((await within(app, '404')) < 1000);
    api.createServiceAccount('team', 'app', { [ROLE]: 'reader' });
    assert.ok((await within(app, 'reader')) < 1000);
  });

  it('the annotation of the pod goes first', async () => {
    const own = await setting.cluster.world.pod({
      namespace: 'team',
      name: 'own',
      serviceAccount: 'app',
      role: 'mine',
    });
    await eventually('the pod has its role', LIMIT_MS, async () => (await listing(own)) === 'mine');
    assert.equal((await setting.ask(own, 'reader')).status, 403);
  });

  it('the expression of the namespace applies all the same', async () => {
    const { world } = setting.cluster;
    world.namespace('closed', `${ARN}other`);
    world.api.createServiceAccount('closed', 'app', { [ROLE]: 'reader' });
    const pod = await world.pod({ namespace: 'closed', name: 'app', serviceAccount: 'app' });
    await eventually('the pod is refused', LIMIT_MS, async () => (await setting.ask(pod, 'reader')).status === 403);
  });

  it('explain says where the role is from', async () => {
    const server = await setting.cluster.startServer({ flags: [`--admin-socket=${socket}`] });
    const { kubeconfigs, roleBaseArn } = setting.cluster.world;
    await eventually('the server is ready', LIMIT_MS, async () => (await server.readiness()).status === 200);
    const asked = [
      ['explain', 'team/app', `--admin-socket=${socket}`],
      ['explain', 'team/app', `--kubeconfig=${kubeconfigs.admin}`, `--role-base-arn=${roleBaseArn}`],
    ];
    for (const args of asked) {
      const { lines } = await setting.cluster.run(args);
      const text = lines.join('\n');
      assert.ok(text.includes(`"reader" from the ServiceAccount team/app is ${ARN}reader`), text);
    }
    await server.child.stop();
  });

  it('doctor names a pod and its ServiceAccount that differ', async () => {
    const { kubeconfigs, roleBaseArn } = setting.cluster.world;
    const args = ['doctor', `--kubeconfig=${kubeconfigs.admin}`, `--role-base-arn=${roleBaseArn}`];
    const text = (await setting.cluster.run(args)).lines.join('\n');
    assert.match(
      text,
      /team\/own: annotated with mine, while the ServiceAccount team\/app gives reader: the pod's counts/,
    );
  });
});

describe('with --binding=serviceaccount', () => {
  let setting: Setting;
  before(async () => {
    setting = await start(['--binding=serviceaccount']);
  });
  after(() => setting?.cluster.close());

  it('with --binding=serviceaccount annotations of pods count for nothing', async () => {
    const { world } = setting.cluster;
    world.api.createServiceAccount('team', 'app', { [ROLE]: 'reader' });
    const hostile = { namespace: 'team', role: 'admin', sessionName: 'somebody', externalId: 'else' };
    const bound = await world.pod({ ...hostile, name: 'bound', serviceAccount: 'app' });
    const unbound = await world.pod({ ...hostile, name: 'unbound' });
    await eventually(
      'the bound pod has its role',
      LIMIT_MS,
      async () => (await setting.ask(bound, '')).body === 'reader',
    );
    assert.equal((await setting.ask(bound, 'admin')).status, 403);
    assert.equal((await setting.ask(bound, 'reader')).status, 200);
    await eventually('the other has none', LIMIT_MS, async () => (await setting.ask(unbound, '')).status === 404);
    assert.equal((await setting.ask(unbound, 'admin')).status, 404);
    const calls = world.sts.calls.list(`${ARN}reader`);
    assert.deepEqual(
      calls.map(({ sessionName, externalId }) => [sessionName, externalId]),
      [['kiam-kiam', '']],
    );
    assert.equal(world.sts.calls.list(`${ARN}admin`).length, 0);
  });
});

describe('a server with the RBAC rules of Kiam', () => {
  let setting: Setting;
  before(async () => {
    const rules = SERVER_RULES.map((rule) => ({
      ...rule,
      resources: rule.resources?.filter((resource) => resource !== 'serviceaccounts') ?? [],
    }));
    setting = await start([], rules);
  });
  after(() => setting?.cluster.close());

  it('a server with the RBAC rules of Kiam serves pods by their own annotations, and says what it may not read', async () => {
    const pod = await setting.cluster.world.pod({ namespace: 'team', name: 'own', role: 'reader' });
    await eventually('the pod has its role', LIMIT_MS, async () => (await setting.ask(pod, 'reader')).status === 200);
    assert.ok(setting.server.log().some(({ resource, status }) => resource === 'serviceaccounts' && status === 403));
  });
});

function pauseMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}
