import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { eventually } from '../support/eventually.ts';
import { findHelm } from '../support/helm.ts';
import {
  connections,
  hasRole,
  isRole,
  makeNamespace,
  NAMESPACE,
  said,
  startConnectionProbe,
  startSdkPod,
} from './sdk-pods.ts';
import { clusterSetting, openCluster, type TestedCluster } from './setting.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));
const found = clusterSetting(process.env);
const skip = found === undefined ? 'NO CLUSTER TESTED: KUBECONFIG names none' : false;
const setting = found ?? clusterSetting({ KUBECONFIG: '/nowhere' }) ?? assert.fail();
const helm = findHelm();
const CONTROL_PLANE = 'node-role.kubernetes.io/control-plane';
const LIMIT = '--timeout=180s';
/** How often the agents are replaced in each install. */
const AGENT_UPDATES = Number(process.env['KIAM_CLUSTER_AGENT_UPDATES'] ?? 1);

interface Install {
  readonly name: string;
  /** The commands of the README, or of the chart's page. */
  readonly commands: readonly string[];
  readonly removal: readonly string[];
  /** What `kubectl exec` and `rollout` know the servers by. */
  readonly servers: string;
  readonly needsControlPlane?: boolean;
  readonly skip?: string | false;
}

/** Into a folder that is not there. */
const PKI = `rm -rf kiam-pki; ${process.execPath} ${KIAM} pki --out kiam-pki | kubectl apply -f -`;
const images = (part: string): string =>
  setting.registry === '' ? '' : ` --set ${part}.image.repository=${setting.registry}/kiam-${part}`;

const INSTALLS: readonly Install[] = [
  {
    name: 'kubectl apply -f deploy/',
    commands: [PKI, 'kubectl apply -f deploy/'],
    removal: ['kubectl delete -f deploy/', 'kubectl -n kube-system delete secret kiam-agent-tls kiam-server-tls'],
    servers: 'deployment/kiam-server',
  },
  {
    name: 'kubectl apply -k deploy/self-managed',
    commands: [PKI, 'kubectl apply -k deploy/self-managed'],
    removal: [
      'kubectl delete -k deploy/self-managed',
      'kubectl -n kube-system delete secret kiam-agent-tls kiam-server-tls',
    ],
    servers: 'daemonset/kiam-server',
    needsControlPlane: true,
  },
  {
    name: 'helm install',
    commands: [`helm install kiam deploy/helm/kiam --namespace kube-system${images('agent')}${images('server')}`],
    removal: [
      `helm upgrade kiam deploy/helm/kiam --namespace kube-system --reuse-values --set agent.uninstall=true`,
      'kubectl -n kube-system rollout status daemonset/kiam-agent --timeout=180s',
      'helm uninstall kiam --namespace kube-system --wait',
    ],
    servers: 'deployment/kiam-server',
    skip: helm.skip,
  },
];

/** Numbers by what has happened. */
type Outcomes = Readonly<Record<string, number>>;

function sum(added: readonly Outcomes[], taken: readonly Outcomes[] = []): Outcomes {
  const total: Record<string, number> = {};
  for (const one of added) for (const [name, number] of Object.entries(one)) total[name] = (total[name] ?? 0) + number;
  for (const one of taken) for (const [name, number] of Object.entries(one)) total[name] = (total[name] ?? 0) - number;
  return Object.fromEntries(Object.entries(total).filter(([, number]) => number > 0));
}

describe('in a cluster', { skip, timeout: 1_800_000 }, () => {
  let cluster: TestedCluster;
  let nodes: string[] = [];
  /** A node of the control plane, its label or one that stands for it. */
  let controlPlane = '';
  let wasLabelled = true;

  const rolledOut = async (servers: string): Promise<void> => {
    for (const name of [servers, 'daemonset/kiam-agent']) {
      await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', name, LIMIT).catch(async (error: unknown) => {
        const pods = await cluster.shell(
          'kubectl -n kube-system get pods -o wide; kubectl -n kube-system get events | tail -20',
        );
        throw new Error(pods, { cause: error });
      });
    }
  };

  before(async () => {
    cluster = await openCluster(setting);
    const names = await cluster.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}');
    nodes = names.split(' ');
    const labelled = await cluster.kubectl(
      'get',
      'nodes',
      '-l',
      CONTROL_PLANE,
      '-o',
      'jsonpath={.items[*].metadata.name}',
    );
    wasLabelled = labelled !== '';
    controlPlane = labelled.split(' ')[0] || nodes[0] || '';
    // A cluster whose control plane is nowhere to be seen has one node taken for it.
    if (!wasLabelled) await cluster.kubectl('label', 'node', controlPlane, `${CONTROL_PLANE}=`);
    if (!wasLabelled) await cluster.kubectl('taint', 'node', controlPlane, `${CONTROL_PLANE}=:NoSchedule`);
    await makeNamespace(cluster, setting);
  });
  after(async () => {
    await cluster?.kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    if (!wasLabelled) await cluster.kubectl('taint', 'node', controlPlane, `${CONTROL_PLANE}-`);
    if (!wasLabelled) await cluster.kubectl('label', 'node', controlPlane, `${CONTROL_PLANE}-`);
    await cluster?.remove();
    helm.remove();
  });

  for (const install of INSTALLS) {
    describe(`installed by ${install.name}`, { skip: install.skip ?? false }, () => {
      before(async () => {
        // Two servers cannot share a node, and the base tolerates no taint.
        if (!wasLabelled && install.needsControlPlane !== true) {
          await cluster.kubectl('taint', 'node', controlPlane, `${CONTROL_PLANE}-`);
        }
        for (const command of install.commands) await cluster.shell(command);
        await rolledOut(install.servers);
      });
      after(async () => {
        for (const command of install.removal) await cluster.shell(command);
        if (!wasLabelled && install.needsControlPlane !== true) {
          await cluster.kubectl('taint', 'node', controlPlane, `${CONTROL_PLANE}=:NoSchedule`);
        }
      });

      it('a pod with a stock SDK on each node has its own role within a minute, those of the servers included', async (t) => {
        for (const node of nodes) {
          const name = `own-${node}`;
          await startSdkPod(cluster, setting, { name, node, role: setting.role });
          const tookMs = await hasRole(cluster, name, setting.role);
          t.diagnostic(`${node}: ${Math.round(tookMs)} ms after its container ran`);
        }
      });

      it('a forbidden pod, and one without a role that tolerates every taint, get nothing on any node', async () => {
        const pods = nodes.flatMap((node) => [
          { name: `forbidden-${node}`, node, role: 'kiam-cluster-test-forbidden' },
          { name: `tolerant-${node}`, node, role: '' },
        ]);
        for (const pod of pods) await startSdkPod(cluster, setting, pod);
        for (const { name } of pods) {
          await eventually(`${name} has tried`, 60_000, async () => (await said(cluster, name)).length >= 3);
          assert.deepEqual(
            (await said(cluster, name)).filter((line) => line.includes(':assumed-role/')),
            [],
            name,
          );
          await cluster.kubectl('-n', NAMESPACE, 'delete', 'pod', name, '--wait=false');
        }
      });

      it('where the agents are gone, what they have left keeps a pod that tolerates every taint from the role of its node', async () => {
        const selectNodes = (nodeSelector: object | null): Promise<string> => {
          const patch = JSON.stringify({ spec: { template: { spec: { nodeSelector } } } });
          return cluster.kubectl('-n', 'kube-system', 'patch', 'daemonset', 'kiam-agent', '--patch', patch);
        };
        await selectNodes({ [NAMESPACE]: 'nowhere' });
        await eventually('no agent runs', 60_000, async () => {
          const pods = await cluster.kubectl('-n', 'kube-system', 'get', 'pods', '-o', 'name');
          return !pods.includes('pod/kiam-agent');
        });
        for (const node of nodes) {
          const name = `alone-${node}`;
          await startSdkPod(cluster, setting, { name, node, role: '' });
          await eventually(`${name} has tried`, 60_000, async () => (await said(cluster, name)).length >= 3);
          const got = (await said(cluster, name)).filter((line) => line.includes(':assumed-role/'));
          assert.deepEqual(got, [], name);
          await cluster.kubectl('-n', NAMESPACE, 'delete', 'pod', name, '--wait=false');
        }
        await selectNodes(null);
        await rolledOut(install.servers);
      });

      it('the doctor finds nothing wrong in the container of either daemon, and explain is right', async () => {
        for (const daemon of [install.servers, 'daemonset/kiam-agent']) {
          await cluster.kubectl('-n', 'kube-system', 'exec', daemon, '--', '/kiam', 'doctor');
        }
        const pod = `${NAMESPACE}/own-${nodes[0]}`;
        const pods = await cluster.kubectl('-n', 'kube-system', 'get', 'pods', '-o', 'name');
        const verdicts: string[] = [];
        for (const server of pods.split('\n').filter((name) => name.startsWith('pod/kiam-server'))) {
          const why = await cluster.kubectl('-n', 'kube-system', 'exec', server, '--', '/kiam', 'explain', pod);
          verdicts.push(why.split('\n')[0] ?? '');
        }
        // A replica that was never asked for them holds none, and says so.
        const other = verdicts.filter((line) => !new RegExp(`^${pod} (?:gets credentials|cannot be told)`).test(line));
        assert.deepEqual(other, []);
        assert.ok(
          verdicts.some((line) => line.startsWith(`${pod} gets credentials`)),
          verdicts.join('\n'),
        );
      });

      it('a rolling update of the servers, and one of the agents, fail no call of a stock SDK and refuse no connection', async (t) => {
        for (const node of nodes) {
          const name = `probe-${node}`;
          await startConnectionProbe(cluster, setting, { name, node, role: setting.role });
          await eventually(
            `${name} is answered`,
            60_000,
            async () => ((await connections(cluster, name))['200'] ?? 0) > 0,
          );
        }
        const rounds = { [install.servers]: 1, 'daemonset/kiam-agent': AGENT_UPDATES };
        for (const [workload, times] of Object.entries(rounds)) {
          const all: Outcomes[] = [];
          for (let time = 0; time < times; time++) all.push(await update(workload));
          const total = sum(all);
          t.diagnostic(`${workload}, replaced ${times} times on each node: ${JSON.stringify(total)}`);
          assert.equal(total['ECONNREFUSED'] ?? 0, 0);
          // A connection that arrives in the very moment in which an agent closes its socket may be reset; servers have no such moment.
          const failed = Object.keys(total).filter((name) => name.startsWith('failed'));
          assert.ok(failed.length <= (workload === install.servers ? 0 : times), failed.join('\n'));
          for (const node of nodes) await hasRole(cluster, `own-${node}`, setting.role);
        }
        for (const node of nodes) {
          await cluster.kubectl('-n', NAMESPACE, 'delete', 'pod', `probe-${node}`, '--wait=false');
        }
      });
    });
  }

  /** Replaces the pods of a workload while the SDKs ask, and tells what failed meanwhile. */
  async function update(workload: string): Promise<Outcomes> {
    const before = await Promise.all(nodes.map((node) => outcomes(node)));
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'restart', workload);
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', workload, LIMIT);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const after = await Promise.all(nodes.map((node) => outcomes(node)));
    return sum(after, before);
  }

  /** Of all that the pods on a node have asked so far. */
  async function outcomes(node: string): Promise<Outcomes> {
    const total: Record<string, number> = { ...(await connections(cluster, `probe-${node}`)) };
    for (const line of await said(cluster, `own-${node}`)) {
      const outcome = isRole(line, setting.role) ? 'SDK calls' : `failed SDK call: ${line}`;
      total[outcome] = (total[outcome] ?? 0) + 1;
    }
    return total;
  }

  it('deploy/removal takes the rules off every node, and says so', async () => {
    for (const command of INSTALLS[0]?.commands ?? []) await cluster.shell(command);
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/kiam-agent', LIMIT);
    await cluster.kubectl('apply', '-k', 'deploy/removal');
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/kiam-agent', LIMIT);
    const log = await cluster.shell(
      'kubectl -n kube-system logs --selector=app=kiam,role=agent --container=uninstall --prefix --tail=-1',
    );
    const gone = log.split('\n').filter((line) => line.includes('redirect, guard and backstop are gone'));
    assert.equal(gone.length, nodes.length, log);
    for (const command of INSTALLS[0]?.removal ?? []) await cluster.shell(command);
  });
});
