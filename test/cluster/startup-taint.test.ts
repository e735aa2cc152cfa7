import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { parseAllDocuments } from 'yaml';

import { CONDITION_TYPE, STARTUP_TAINT } from '#domain/node-readiness.ts';

import { eventually } from '../support/eventually.ts';
import { makeNamespace, NAMESPACE } from './sdk-pods.ts';
import { clusterSetting, openCluster, type TestedCluster } from './setting.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));
const found = clusterSetting(process.env);
const join = process.env['KIAM_CLUSTER_JOIN'] ?? '';
const skip =
  found === undefined
    ? 'NO CLUSTER TESTED: KUBECONFIG names none'
    : join === ''
      ? 'NO NODE JOINS: KIAM_CLUSTER_JOIN is no command that makes one join'
      : false;
const setting = found ?? clusterSetting({ KUBECONFIG: '/nowhere' }) ?? assert.fail();
const ONCE = process.env['KIAM_CLUSTER_SDK_ONCE'] ?? 'aws sts get-caller-identity --query Arn --output text';
const JOBS = Number(process.env['KIAM_CLUSTER_JOBS'] ?? 200);
const LIMIT_MS = 900_000;

/** An object of the API, as loosely as a test reads it. */
// oxlint-disable-next-line typescript/no-explicit-any -- any field of any kind of object may be asked for
type Loose = any;

describe('nodes that join a cluster with the start-up taint', { skip, timeout: 2 * LIMIT_MS }, () => {
  let cluster: TestedCluster;
  let servers: Loose;
  let agents: Loose;
  const joined: string[] = [];

  const get = async (...args: readonly string[]): Promise<Loose> =>
    JSON.parse(await cluster.kubectl('get', '-o', 'json', ...args));
  const nodeNames = async (): Promise<string[]> =>
    (await get('nodes')).items.map(({ metadata }: Loose) => metadata.name);
  const conditionOf = (node: Loose): Loose =>
    node.status.conditions.find(({ type }: Loose) => type === CONDITION_TYPE) ?? {};
  const isTainted = (node: Loose): boolean => (node.spec.taints ?? []).some(({ key }: Loose) => key === STARTUP_TAINT);
  /** Has one node or more join, by kubelets that register with the taint. */
  const joinNodes = async (): Promise<string[]> => {
    const before = await nodeNames();
    await promisify(execFile)('sh', ['-c', join], { timeout: 300_000 });
    const fresh = (await nodeNames()).filter((name) => !before.includes(name));
    assert.ok(fresh.length > 0, 'no node has joined');
    joined.push(...fresh);
    return fresh;
  };
  /** So many pods of a Job, each of which asks a stock SDK once who it is, for nodes that are not there yet. */
  const createJobs = async (name: string, count: number): Promise<void> => {
    const file = '/etc/kiam-cluster-test/ca.pem';
    const names = setting.sdkAuthorities === '' ? [] : ['NODE_EXTRA_CA_CERTS', 'AWS_CA_BUNDLE'];
    const check = `line=$(${ONCE}); echo "$line"; case "$line" in *:assumed-role/${setting.role}/*) exit 0;; esac; exit 1`;
    const elsewhere = { key: 'kubernetes.io/hostname', operator: 'NotIn', values: await nodeNames() };
    await cluster.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, namespace: NAMESPACE },
      spec: {
        completions: count,
        parallelism: count,
        backoffLimit: 0,
        template: {
          metadata: { annotations: { 'iam.amazonaws.com/role': setting.role } },
          spec: {
            restartPolicy: 'Never',
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [{ matchExpressions: [elsewhere] }],
                },
              },
            },
            containers: [
              {
                name: 'client',
                image: setting.sdkImage,
                command: ['sh', '-c', check],
                env: [{ name: 'AWS_REGION', value: 'us-east-1' }, ...names.map((one) => ({ name: one, value: file }))],
                // So many at a time as the node has room for; the others wait.
                resources: { requests: { cpu: '500m' } },
                volumeMounts: [{ name: 'authorities', mountPath: '/etc/kiam-cluster-test' }],
              },
            ],
            volumes: [{ name: 'authorities', configMap: { name: 'authorities' } }],
          },
        },
      },
    });
  };
  const podsOf = async (job: string): Promise<Loose[]> =>
    (await get('-n', NAMESPACE, 'pods', '-l', `job-name=${job}`)).items;
  const isDone = async (job: string): Promise<boolean> => {
    const { status } = await get('-n', NAMESPACE, 'job', job);
    if ((status.failed ?? 0) === 0) return (status.succeeded ?? 0) > 0 && (status.active ?? 0) === 0;
    const logs = await cluster.shell(
      `kubectl -n ${NAMESPACE} logs -l job-name=${job} --tail=1 --prefix | grep -v :assumed-role/ || true`,
    );
    return assert.fail(`${status.failed} of ${job} failed:\n${logs}`);
  };
  /** The Secrets of the servers and of the agents, of a new authority. */
  const newSecrets = async (folder: string): Promise<readonly [Loose, Loose]> => {
    const text = await cluster.shell(`${process.execPath} ${KIAM} pki --out ${folder} 2>/dev/null`);
    const [servers, agents] = parseAllDocuments(text).map((document) => document.toJS());
    return [servers, agents];
  };

  before(async () => {
    cluster = await openCluster(setting);
    await makeNamespace(cluster, setting);
    [servers, agents] = await newSecrets('right');
    for (const secret of [servers, agents]) await cluster.apply(secret);
    await cluster.kubectl('apply', '-k', 'deploy/startup-taint');
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/kiam-agent', '--timeout=180s');
    await eventually('a server is ready', 180_000, async () => {
      const { status } = await get('-n', 'kube-system', 'deployment', 'kiam-server');
      return (status.readyReplicas ?? 0) > 0;
    });
  });
  after(async () => {
    await cluster?.kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    await cluster?.kubectl('delete', '-k', 'deploy/startup-taint', '--ignore-not-found');
    await cluster?.kubectl('-n', 'kube-system', 'delete', 'secret', 'kiam-agent-tls', 'kiam-server-tls');
    await cluster?.remove();
  });

  it(`nodes join while ${JOBS} pods of Jobs with a stock SDK wait for one: none fails, and none starts before its node is proven ready`, async (t) => {
    await createJobs('waiting', JOBS);
    await eventually('all wait', 60_000, async () => (await podsOf('waiting')).length === JOBS);
    assert.deepEqual(await scheduled('waiting'), []);
    const fresh = await joinNodes();
    await eventually('all have run', LIMIT_MS, () => isDone('waiting'));
    await startedAfterProof(t, 'waiting', JOBS);
    for (const name of fresh) assert.equal(isTainted(await get('node', name)), false, name);
  });

  it('where agents have certificates of another authority nothing is scheduled, and the condition says why, until they have the right ones', async (t) => {
    const [, wrong] = await newSecrets('wrong');
    await cluster.apply(wrong);
    await createJobs('refused', 20);
    const [node = ''] = await joinNodes();
    const condition = await eventuallyCondition(node, 'AgentHandshakeFailed');
    t.diagnostic(`${condition.status} ${condition.reason}: ${condition.message}`);
    assert.match(condition.message, /certificate and its CA must be those of the servers/);
    await new Promise((resolve) => setTimeout(resolve, 30_000));
    assert.deepEqual(await scheduled('refused'), []);
    assert.equal(isTainted(await get('node', node)), true);
    await cluster.apply(agents);
    await cluster.kubectl('-n', 'kube-system', 'delete', 'pods', '-l', 'app=kiam,role=agent', '--wait=false');
    await eventually('all have run', LIMIT_MS, () => isDone('refused'));
    await startedAfterProof(t, 'refused', 20);
  });

  /** The pods of a Job that have a node. */
  async function scheduled(job: string): Promise<string[]> {
    return (await podsOf(job)).filter(({ spec }) => spec.nodeName !== undefined).map(({ metadata }) => metadata.name);
  }

  async function eventuallyCondition(node: string, reason: string): Promise<Loose> {
    let condition: Loose;
    await eventually(`the condition of ${node} is ${reason}`, 120_000, async () => {
      condition = conditionOf(await get('node', node));
      return condition.reason === reason;
    });
    return condition;
  }

  /** That none of a Job's pods was scheduled or started before the condition of its node became true. */
  async function startedAfterProof(t: TestContext, job: string, count: number): Promise<void> {
    const pods = await podsOf(job);
    assert.equal(pods.length, count);
    const provenAt = new Map<string, number>();
    for (const name of joined) {
      const node = await get('node', name);
      const condition = conditionOf(node);
      provenAt.set(name, Date.parse(condition.status === 'True' ? condition.lastTransitionTime : 'never'));
      const sinceMs = Date.parse(condition.lastTransitionTime) - Date.parse(node.metadata.creationTimestamp);
      t.diagnostic(`${name}: ${condition.status} ${sinceMs / 1000} s after it joined`);
    }
    for (const { metadata, spec, status } of pods) {
      const proven = provenAt.get(spec.nodeName) ?? Number.NaN;
      const { lastTransitionTime } = status.conditions.find(({ type }: Loose) => type === 'PodScheduled');
      const { startedAt } = status.containerStatuses[0].state.terminated;
      assert.ok(Date.parse(lastTransitionTime) >= proven, `${metadata.name} was scheduled at ${lastTransitionTime}`);
      assert.ok(Date.parse(startedAt) >= proven, `${metadata.name} started at ${startedAt}`);
      assert.equal(status.containerStatuses[0].state.terminated.exitCode, 0);
    }
  }
});
