import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { kiamVersion } from '#bin/version.ts';
import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';
import { Document, parseAllDocuments } from 'yaml';

import { eventually } from '../support/eventually.ts';
import { findHelm } from '../support/helm.ts';
import { hasRole, isRole, makeNamespace, NAMESPACE, said, startSdkPod } from './sdk-pods.ts';
import { clusterSetting, openCluster, type TestedCluster } from './setting.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const found = clusterSetting(process.env);
const setting = found ?? clusterSetting({ KUBECONFIG: '/nowhere' }) ?? assert.fail();
/** A clone of jtblin/kube2iam: its own manifests and chart are what is applied. */
const CHECKOUT = process.env['KUBE2IAM_CHECKOUT'] ?? '';
const helm = findHelm();
const skip =
  found === undefined
    ? 'NO CLUSTER TESTED: KUBECONFIG names none'
    : CHECKOUT === '' && 'NOT TESTED: KUBE2IAM_CHECKOUT names no clone of jtblin/kube2iam';
const REPOSITORY = `${setting.registry === '' ? '' : `${setting.registry}/`}kiam-kube2iam`;
const FORBIDDEN = 'kiam-cluster-test-forbidden';

interface Install {
  readonly name: string;
  /** The objects as kube2iam has them. */
  readonly manifests: () => Promise<string>;
  /** Its pods have the node's role where they annotate none. */
  readonly hasDefaultRole: boolean;
  readonly isRestricted: boolean;
  readonly skip?: string | false;
}

const INSTALLS: readonly Install[] = [
  {
    name: 'its example for EKS',
    manifests: () => readFile(join(CHECKOUT, 'examples/eks-example.yml'), 'utf8'),
    hasDefaultRole: true,
    isRestricted: false,
  },
  {
    name: 'its chart',
    manifests: async () => {
      const values = {
        // Otherwise its objects have names of the chart and the release.
        nameOverride: 'kube2iam',
        'rbac.create': 'true',
        'host.iptables': 'true',
        'host.interface': 'eni+',
        'extraArgs.auto-discover-base-arn': 'true',
        'extraArgs.namespace-restrictions': 'true',
        updateStrategy: 'RollingUpdate',
        // The chart has no version of its own outside of its releases.
        'image.tag': 'latest',
      };
      const sets = Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
      const chart = join(CHECKOUT, 'charts/kube2iam');
      const versions = ['--kube-version', '1.34.0'];
      const { status, stdout, stderr } = await helm.run(
        ['template', 'kube2iam', chart, '--namespace', 'kube-system', ...versions, ...sets],
        setting.kubeconfig,
      );
      assert.equal(status, 0, stderr);
      return stdout;
    },
    hasDefaultRole: false,
    isRestricted: true,
    skip: helm.skip,
  },
];

describe('kube2iam’s own manifests with the image changed, in a cluster', { skip, timeout: 900_000 }, () => {
  let cluster: TestedCluster;
  let nodes: string[] = [];

  before(async () => {
    cluster = await openCluster(setting);
    nodes = (await cluster.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    await makeNamespace(cluster, setting);
    const list = `${ALLOWED_ROLES_ANNOTATION}=["${setting.role}"]`;
    await cluster.kubectl('annotate', 'namespace', NAMESPACE, '--overwrite', list);
  });
  after(async () => {
    await cluster?.kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    await cluster?.remove();
    helm.remove();
  });

  for (const install of INSTALLS) {
    describe(`by ${install.name}`, { skip: install.skip ?? false }, () => {
      before(async () => {
        await writeFile(join(cluster.folder, 'kube2iam.yaml'), withImage(await install.manifests()));
        await cluster.kubectl('-n', 'kube-system', 'apply', '-f', 'kube2iam.yaml');
        await rolledOut();
      });
      after(() => cluster.kubectl('-n', 'kube-system', 'delete', '-f', 'kube2iam.yaml', '--wait'));

      it('a pod with a stock SDK on each node has its own role within a minute, and never another', async (t) => {
        for (const node of nodes) {
          await startSdkPod(cluster, setting, { name: `own-${node}`, node, role: setting.role });
          const tookMs = await hasRole(cluster, `own-${node}`, setting.role);
          t.diagnostic(`${node}: ${Math.round(tookMs)} ms after its container ran`);
        }
        await onlyTheirOwn();
      });

      it('a role that the namespace does not list, and none at all, are answered as its flags say', async () => {
        const [node = ''] = nodes;
        const pods = { forbidden: install.isRestricted ? FORBIDDEN : '', none: '' };
        for (const [name, role] of Object.entries(pods)) {
          await startSdkPod(cluster, setting, { name, node, role });
          await eventually(`${name} has tried`, 60_000, async () => (await said(cluster, name)).length >= 3);
          const lines = await said(cluster, name);
          const served = lines.filter((line) => line.includes(':assumed-role/'));
          assert.ok(install.hasDefaultRole ? served.length > 0 : served.length === 0, lines.join('\n'));
        }
      });

      it('a rolling update gives no pod a role that is not its own', async (t) => {
        await cluster.kubectl('-n', 'kube-system', 'rollout', 'restart', 'daemonset/kube2iam');
        await rolledOut();
        for (const node of nodes) {
          const before = (await said(cluster, `own-${node}`)).length;
          await eventually('it asks again', 60_000, async () =>
            (await said(cluster, `own-${node}`)).slice(before).some((line) => isRole(line, setting.role)),
          );
        }
        t.diagnostic(await onlyTheirOwn());
      });
    });
  }

  async function rolledOut(): Promise<void> {
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/kube2iam', '--timeout=120s');
  }

  /** What the pods were told of themselves; no line may be of another role. */
  async function onlyTheirOwn(): Promise<string> {
    const lines = (await Promise.all(nodes.map((node) => said(cluster, `own-${node}`)))).flat();
    const roles = lines.filter((line) => line.includes(':assumed-role/'));
    assert.deepEqual(
      roles.filter((line) => !isRole(line, setting.role)),
      [],
    );
    return `${lines.length} calls of SDKs, ${roles.length} with the pod's own role, 0 with another`;
  }
});

/** The image, and what is of the cluster: the interface, and the authorities that nodes trust where AWS is a stand-in. */
function withImage(text: string): string {
  const replaced = text
    .replaceAll(/image: "?jtblin\/kube2iam:latest"?/g, `image: ${REPOSITORY}:${kiamVersion()}`)
    .replaceAll('--host-interface=eni+', '--host-interface=+');
  assert.ok(replaced.includes(REPOSITORY), replaced);
  if (setting.sdkAuthorities === '') return replaced;
  const documents = parseAllDocuments(replaced).filter((one) => one instanceof Document);
  for (const document of documents.filter((one) => one.get('kind') === 'DaemonSet')) {
    const spec = ['spec', 'template', 'spec'];
    const add = (path: readonly (string | number)[], item: object): void => {
      if (document.getIn(path) === undefined) document.setIn(path, document.createNode([]));
      document.addIn(path, document.createNode(item));
    };
    add([...spec, 'volumes'], { name: 'authorities', hostPath: { path: '/etc/ssl/certs' } });
    add([...spec, 'containers', 0, 'volumeMounts'], { name: 'authorities', mountPath: '/etc/ssl/certs' });
  }
  return documents.map(String).join('---\n');
}
