import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';

import { type Answer, askHttp, type Cluster, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { type RunningPod, runPod, serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KUBE_SYSTEM = 'kube-system';
const AUDIENCE = 'pods.eks.amazonaws.com';
const LIMIT_MS = 30_000;

const keyIdOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid;

const assets = findAssets();

describe('container credentials, with tokens of the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  let cluster: Cluster;
  let port: number;
  let app: RunningPod;
  let onNode: RunningPod;

  const tokenOf = (pod: RunningPod, audience = AUDIENCE): Promise<string> =>
    serviceAccountToken(plane.admin, { namespace: pod.namespace, name: 'app', audience, pod });
  const ask = (from: string, authorization: string): Promise<Answer> =>
    askHttp({ port, from, path: '/v1/credentials', headers: { host: '169.254.170.23', authorization } });
  const accessKeyOf = async (from: string, token: string): Promise<string> => {
    let key = '';
    await eventually('there are credentials', LIMIT_MS, async () => {
      const { status, body } = await ask(from, token);
      if (status === 200) key = JSON.parse(body).AccessKeyId;
      return key !== '';
    });
    return key;
  };

  before(async () => {
    if (assets.skip !== false) return;
    plane = await startControlPlane(assets.folder);
    cluster = await startCluster();
    const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
    await promisify(execFile)('kubectl', ['apply', '-f', 'deploy/'], { cwd: ROOT, env });
    await plane.admin.demand('POST', '/api/v1/namespaces', {
      metadata: { name: 'team', annotations: { [PERMITTED_ANNOTATION]: '.*' } },
    });
    await plane.admin.demand('POST', '/api/v1/namespaces/team/serviceaccounts', { metadata: { name: 'app' } });
    // What everybody is granted by default: the binding of the manifests must do.
    const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
    await plane.admin.demand('DELETE', `${bindings}/system:service-account-issuer-discovery`);
    const account = await serviceAccountToken(plane.admin, { namespace: KUBE_SYSTEM, name: 'kiam-server' });
    const kubeconfig = await plane.kubeconfigOf('kiam-server', account);
    const own = await runPod(plane.admin, {
      namespace: KUBE_SYSTEM,
      name: 'kiam-agent',
      address: '127.0.0.1',
      hostNetwork: true,
      serviceAccountName: 'kiam-agent',
    });
    const tokenFile = join(plane.folder, 'agent-token');
    const wanted = { namespace: KUBE_SYSTEM, name: 'kiam-agent', audience: 'kiam-server', pod: own };
    await writeFile(tokenFile, await serviceAccountToken(plane.admin, wanted));
    const server = await cluster.startServer({
      flags: [`--kubeconfig=${kubeconfig}`, '--agent-identity=token', '--container-credentials'],
    });
    const agent = await cluster.startAgent(server.port, {
      flags: [`--agent-token-file=${tokenFile}`, '--container-credentials', '--container-credentials-port=0'],
    });
    port = Number(/:(\d+)"/.exec(await agent.child.line(/"msg":"container credentials: listening"/))?.[1]);
    const pod = { namespace: 'team', serviceAccountName: 'app' };
    app = await runPod(plane.admin, { ...pod, name: 'app', address: '127.1.0.1', role: 'reader' });
    const hosts = { address: '127.0.0.1', hostNetwork: true };
    onNode = await runPod(plane.admin, { ...pod, ...hosts, name: 'on-node', role: 'watcher' });
  });
  after(async () => {
    await cluster?.close();
    await plane?.stop();
  });

  it('a pod and a pod with the host network have the credentials of their own roles', async () => {
    const keys = [
      [await accessKeyOf(app.address, await tokenOf(app)), 'reader'],
      [await accessKeyOf('127.0.0.1', await tokenOf(onNode)), 'watcher'],
    ] as const;
    for (const [key, role] of keys) {
      assert.equal(cluster.world.sts.identify(key)?.roleArn, `${cluster.world.roleBaseArn}${role}`);
    }
  });

  it('a token for another audience, of another pod or of the ServiceAccount alone is refused', async () => {
    assert.equal((await ask(app.address, await tokenOf(app, 'sts.amazonaws.com'))).status, 400);
    assert.equal((await ask(app.address, await tokenOf(onNode))).status, 403);
    const alone = { namespace: 'team', name: 'app', audience: AUDIENCE };
    assert.equal((await ask(app.address, await serviceAccountToken(plane.admin, alone))).status, 400);
  });

  it('a token of a new signing key is served within 15 seconds, and one of the key before all the time', async () => {
    const before = await tokenOf(app);
    await plane.rotateSigningKey();
    const after = await tokenOf(app);
    assert.notEqual(keyIdOf(before), keyIdOf(after));
    const readyMs = performance.now();
    for (let status = 0; status !== 200;) {
      assert.equal((await ask(app.address, before)).status, 200);
      ({ status } = await ask(app.address, after));
      assert.ok(status === 200 || status === 503, String(status));
      assert.ok(performance.now() - readyMs < 15_000, `after ${performance.now() - readyMs} ms still ${status}`);
    }
  });

  it('the tokens of a ServiceAccount that was deleted and made again are refused, and its new ones are not', async () => {
    const before = await tokenOf(app);
    assert.equal((await ask(app.address, before)).status, 200);
    const accounts = '/api/v1/namespaces/team/serviceaccounts';
    await plane.admin.demand('DELETE', `${accounts}/app`);
    await plane.admin.demand('POST', accounts, { metadata: { name: 'app' } });
    const after = await tokenOf(app);
    await eventually('it is refused', LIMIT_MS, async () => (await ask(app.address, before)).status === 403);
    assert.equal((await ask(app.address, after)).status, 200);
  });

  it('a pod is served while the API server is away, and its token is refused once it is deleted', async () => {
    const token = await tokenOf(app);
    await plane.restartApiServer();
    assert.equal((await ask(app.address, token)).status, 200);
    await plane.admin.demand('DELETE', '/api/v1/namespaces/team/pods/app?gracePeriodSeconds=0');
    await eventually('it is refused', LIMIT_MS, async () => (await ask(app.address, token)).status !== 200);
  });
});
