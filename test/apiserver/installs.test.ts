import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { parseAllDocuments, stringify } from 'yaml';

import { CHART, findHelm } from '../support/helm.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const assets = findAssets();

describe('the installs, before the API server of Kubernetes', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  before(async () => {
    if (assets.skip === false) plane = await startControlPlane(assets.folder);
  });
  after(() => plane?.stop());

  /** kubectl as an administrator; rejects with what it said. */
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const env = {
      PATH: assets.skip === false ? assets.path : '',
      HOME: plane.folder,
      KUBECONFIG: plane.adminKubeconfig,
    };
    return (await promisify(execFile)('kubectl', args, { cwd: ROOT, env })).stdout;
  };
  /** The names of the objects that are accepted, strictly, without any being made. */
  const accepted = async (...args: readonly string[]): Promise<string[]> =>
    (await kubectl('apply', '--validate=strict', '--dry-run=server', '-o', 'name', ...args)).trim().split('\n');

  for (const args of [
    ['-f', 'deploy/'],
    ['-k', 'deploy/eks'],
    ['-k', 'deploy/dedicated'],
    ['-k', 'deploy/self-managed'],
    ['-k', 'deploy/startup-taint'],
  ]) {
    it(`kubectl apply ${args.join(' ')}: every object is accepted with strict validation`, async () => {
      const servers = /dedicated|self-managed/.test(args.join(' ')) ? 'daemonset.apps' : 'deployment.apps';
      const more = args.includes('deploy/startup-taint') ? OF_STARTUP_TAINT : [];
      assert.deepEqual((await accepted(...args)).sort(), [...objectsWith(servers), ...more].sort());
    });
  }

  it('the variant with cert-manager: what is not of cert-manager’s own kinds is accepted', async () => {
    const objects = parseAllDocuments(await kubectl('kustomize', 'deploy/cert-manager')).map((document) =>
      document.toJS(),
    );
    const file = join(plane.folder, 'cert-manager.yaml');
    const plain = objects.filter(({ apiVersion }) => !apiVersion.startsWith('cert-manager.io/'));
    await writeFile(file, plain.map((object) => stringify(object)).join('---\n'));
    assert.deepEqual((await accepted('-f', file)).sort(), objectsWith('deployment.apps'));
  });

  it('the Helm chart, with two servers and with one on each node: every object is accepted', async (t) => {
    const helm = findHelm();
    t.after(() => helm.remove());
    if (helm.skip !== false) return t.skip(helm.skip);
    for (const values of [{}, { server: { deployment: { enabled: false } } }, { server: { nodeReadiness: 'taint' } }]) {
      const { status, stdout, stderr } = helm.template({ generateCertificates: 'always', ...values });
      assert.equal(status, 0, stderr);
      const file = join(plane.folder, 'chart.yaml');
      await writeFile(file, stdout);
      const names = await accepted('-f', file);
      assert.equal(names.length, stdout.match(/^kind: /gm)?.length);
      assert.ok(names.includes('daemonset.apps/kiam-agent'), names.join('\n'));
    }
  });

  it('helm install, upgrade and uninstall: the certificates of the first stay, the CA to the end', async (t) => {
    const helm = findHelm();
    t.after(() => helm.remove());
    if (helm.skip !== false) return t.skip(helm.skip);
    const run = async (...args: readonly string[]): Promise<void> => {
      const { status, stderr } = await helm.run([...args, '--namespace', 'kube-system'], plane.adminKubeconfig);
      assert.equal(status, 0, stderr);
    };
    const secrets = async (): Promise<string> =>
      kubectl(
        '-n',
        'kube-system',
        'get',
        'secrets',
        '-l',
        'app=kiam',
        '-o',
        'jsonpath={range .items[*]}{.metadata.name} {.data}{"\\n"}',
      );
    await run('install', 'kiam', CHART);
    const first = await secrets();
    assert.equal(first.trim().split('\n').length, 3);
    await run('upgrade', 'kiam', CHART);
    assert.equal(await secrets(), first);
    await run('uninstall', 'kiam');
    assert.match(await secrets(), /^kiam-generated-ca [^\n]*\s*$/);
  });

  it('a field that does not exist is refused, so that the others were looked at', async () => {
    const file = join(plane.folder, 'wrong.yaml');
    const text = await readFile(`${ROOT}deploy/server.yaml`, 'utf8');
    await writeFile(file, text.replace('priorityClassName:', 'priorityClassname:'));
    await assert.rejects(accepted('-f', file), /unknown field "spec\.template\.spec\.priorityClassname"/);
  });

  it('applied, with the example: the server’s account may read pods and namespaces and no more, the agent’s nothing', async () => {
    for (const folder of ['deploy/', 'deploy/examples/']) await kubectl('apply', '--validate=strict', '-f', folder);
    const paths = ['pods', 'namespaces', 'secrets', 'nodes', 'events', 'namespaces/kube-system/secrets'];
    const statuses = async (account: string): Promise<number[]> => {
      const client = plane.as(await serviceAccountToken(plane.admin, { namespace: 'kube-system', name: account }));
      return Promise.all(paths.map(async (path) => (await client.ask('GET', `/api/v1/${path}`)).status));
    };
    assert.deepEqual(await statuses('kiam-server'), [200, 200, 403, 403, 403, 403]);
    assert.deepEqual(await statuses('kiam-agent'), [403, 403, 403, 403, 403, 403]);
  });
});

const OF_STARTUP_TAINT = [
  'clusterrole.rbac.authorization.k8s.io/kiam-server-nodes',
  'clusterrolebinding.rbac.authorization.k8s.io/kiam-server-nodes',
  'validatingadmissionpolicy.admissionregistration.k8s.io/kiam-server-nodes',
  'validatingadmissionpolicybinding.admissionregistration.k8s.io/kiam-server-nodes',
];

const objectsWith = (servers: string): readonly string[] => [
  'clusterrole.rbac.authorization.k8s.io/kiam-server',
  'clusterrolebinding.rbac.authorization.k8s.io/kiam-server',
  'clusterrolebinding.rbac.authorization.k8s.io/kiam-server-token-keys',
  'daemonset.apps/kiam-agent',
  ...(servers === 'daemonset.apps' ? ['daemonset.apps/kiam-server'] : ['deployment.apps/kiam-server']),
  'poddisruptionbudget.policy/kiam-server',
  'service/kiam-server',
  'serviceaccount/kiam-agent',
  'serviceaccount/kiam-server',
];
