import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';

import { type Kube2iamDaemon, type Kube2iamNode, startKube2iamNode } from '../kube2iam/node.ts';
import { type Answer, askHttp, LISTING } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, type NodeName, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { type RunningPod, runPod, serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LIMIT_MS = 30_000;
const TEAM = '/api/v1/namespaces/team';
const assets = findAssets();

describe(
  'kiam kube2iam, before the API server of Kubernetes and with the rights of kube2iam',
  { skip: assets.skip },
  () => {
    let plane: ControlPlane;
    let node: Kube2iamNode;
    let daemon: Kube2iamDaemon;

    const listing = (...roles: readonly string[]) => ({
      metadata: { annotations: { [ALLOWED_ROLES_ANNOTATION]: JSON.stringify(roles) } },
    });
    const pod = (name: string, address: string, on: NodeName = 'node-1'): Promise<RunningPod> =>
      runPod(plane.admin, { namespace: 'team', name, address, role: name, node: on });
    const ask = (address: string, role: string): Promise<Answer> =>
      askHttp({ port: daemon.port, from: address, path: LISTING + role });
    const isAnswered = (address: string, role: string, status: number): Promise<unknown> =>
      eventually(`${role} is answered ${status}`, LIMIT_MS, async () => (await ask(address, role)).status === status);

    before(async () => {
      if (assets.skip !== false) return;
      plane = await startControlPlane(assets.folder);
      node = await startKube2iamNode();
      const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
      const install = ['apply', '-f', 'test/support/kube2iam-install.yaml'];
      await promisify(execFile)('kubectl', install, { cwd: ROOT, env });
      const { metadata } = listing('reader', 'team-a/*');
      await plane.admin.demand('POST', '/api/v1/namespaces', { metadata: { ...metadata, name: 'team' } });
      const token = await serviceAccountToken(plane.admin, { namespace: 'kube-system', name: 'kube2iam' });
      daemon = await node.start([
        `--kubeconfig=${await plane.kubeconfigOf('kube2iam', token)}`,
        '--base-role-arn=arn:aws:iam::123456789012:role/',
        '--namespace-restrictions',
        '--backoff-max-elapsed-time=1s',
      ]);
    });
    after(async () => {
      await node?.close();
      await plane?.stop();
    });

    it('watches the pods of its node alone, and gives each the role that its namespace lists', async () => {
      await pod('reader', '127.1.0.1');
      await isAnswered('127.1.0.1', 'reader', 200);
      await pod('writer', '127.1.0.2');
      await isAnswered('127.1.0.2', 'writer', 404);
      assert.match((await ask('127.1.0.2', 'writer')).body, /not valid for namespace of pod at 127\.1\.0\.2/);
      await runPod(plane.admin, {
        namespace: 'team',
        name: 'elsewhere',
        address: '127.1.0.3',
        role: 'reader',
        node: 'node-2',
      });
      const { status, body } = await ask('127.1.0.3', 'reader');
      assert.deepEqual([status, body], [404, 'pod with specificed IP "127.1.0.3" not found\n']);
    });

    it('follows the lists of namespaces, and pods that are gone', async () => {
      await plane.admin.demand('PATCH', TEAM, listing('writer'));
      await isAnswered('127.1.0.2', 'writer', 200);
      await isAnswered('127.1.0.1', 'reader', 404);
      await plane.admin.demand('DELETE', `${TEAM}/pods/writer?gracePeriodSeconds=0`);
      await isAnswered('127.1.0.2', 'writer', 404);
      assert.match((await ask('127.1.0.2', 'writer')).body, /^pod with specificed IP/);
    });

    it('goes on when the API server was killed and has started again', async () => {
      await plane.restartApiServer();
      await pod('team-writer', '127.1.0.4');
      await plane.admin.demand('PATCH', TEAM, listing('team-*'));
      await isAnswered('127.1.0.4', 'team-writer', 200);
    });
  },
);
