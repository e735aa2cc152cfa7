import type { PodRecord } from '#domain/pod.ts';

import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { ManualClock } from './manual-clock.ts';
import { ModelAgent, ModelPods, startReplica } from './model-replicas.ts';
import { podRecord } from './pods.ts';

/** The workloads of a cluster, each with a role of its own. */
export interface ClusterSetting {
  readonly nodes: number;
  readonly replicas: number;
  /** With a pod on every node. */
  readonly daemonSets: number;
  /** With as many pods as `DEPLOYMENT_PODS` says in turn, each on a node drawn at random. */
  readonly deployments: number;
  /** For each entry a CronJob with a run every so many minutes, on another node each time, drawn at random. */
  readonly cronJobMinutes: readonly number[];
}

/** In minutes of injected time: calls are counted from the first up to the last. */
export interface Period {
  readonly fromMinute: number;
  readonly toMinute: number;
}

/** `daemonset`, `deployment`, or `cronjob 5` for those with a run every 5 minutes. */
type Kind = string;

export interface KindFigures {
  readonly identities: number;
  /** Runs of CronJobs that began in the period. */
  readonly runs: number;
  /** Calls of AssumeRole in the period, all replicas together. */
  readonly calls: number;
  /** Pairs of an identity and a replica that has the stream of a node with one of its pods, as the period ends. */
  readonly homes: number;
}

/** How many pods Deployments have, in turn. */
export const DEPLOYMENT_PODS = [2, 2, 2, 3, 3, 5, 10, 30] as const;

/** What begins with the cluster begins within so many minutes: identities that are all fetched at once would be renewed at once. */
const START_MINUTES = 30;
const RUN_MINUTES = 2;
/** A pod's SDK asks again after this long. */
const ASK_MINUTES = 50;
/** A pod asks so long after it appears. */
const FIRST_ASK_MS = 5000;
const MINUTE_MS = 60_000;

/**
 * AssumeRole calls of a whole cluster in injected time, by the kind of workload: the servers' part of prefetch and renewal and the
 * agents' choice of a replica, all with streams, before an STS that grants an hour.
 */
export async function measureClusterCalls(
  setting: ClusterSetting,
  { fromMinute, toMinute }: Period,
): Promise<ReadonlyMap<Kind, KindFigures>> {
  const clock = new ManualClock();
  const random = repeatableRandom();
  const pods = new ModelPods();
  const figures = new Map<Kind, { identities: number; runs: number; calls: number; homes: number }>();
  let isCounted = false;
  const figuresOf = (kind: Kind) => {
    const known = figures.get(kind) ?? { identities: 0, runs: 0, calls: 0, homes: 0 };
    figures.set(kind, known);
    return known;
  };
  const onCall = ({ roleArn }: { readonly roleArn: string }): void => {
    if (isCounted) figuresOf(kindOf(roleArn.slice(roleArn.indexOf('/') + 1))).calls += 1;
  };
  const names = Array.from({ length: setting.replicas }, (_, index) => `10.0.0.${index}`);
  const servers = new Map(names.map((name) => [name, startReplica({ clock, random, pods, onCall })]));
  const nodes = Array.from({ length: setting.nodes }, (_, index) => `node-${index}`);
  const agents = new Map(nodes.map((node) => [node, new ModelAgent(node, { clock, random, servers })]));
  const workloads = workloadsOf(setting, nodes, random);
  for (const { role } of workloads) figuresOf(kindOf(role)).identities += 1;

  for (let minute = 0; minute < toMinute; minute += 1) {
    isCounted = minute >= fromMinute;
    for (const agent of agents.values()) agent.follow();
    const asking: PodRecord[] = [];
    for (const workload of workloads) {
      for (const pod of workload.gone(minute)) pods.remove(pod);
      for (const pod of workload.come(minute)) {
        pods.put(pod);
        asking.push(pod);
        if (isCounted && workload.isCronJob) figuresOf(kindOf(pod.role)).runs += 1;
      }
      asking.push(...workload.askAgain(minute));
    }
    await clock.advance(FIRST_ASK_MS);
    for (const pod of asking) agents.get(pod.nodeName)?.ask(pod, true);
    await clock.advance(MINUTE_MS - FIRST_ASK_MS);
  }
  for (const server of servers.values()) server.stop();
  const homes = [...pods.pods()].map(({ role, nodeName }) => `${role} ${agents.get(nodeName)?.home}`);
  for (const pair of new Set(homes)) figuresOf(kindOf(pair)).homes += 1;
  return figures;
}

/** Pods that come, go and ask in a minute. */
interface Workload {
  readonly role: string;
  readonly isCronJob: boolean;
  come(minute: number): readonly PodRecord[];
  gone(minute: number): readonly PodRecord[];
  askAgain(minute: number): readonly PodRecord[];
}

function workloadsOf(setting: ClusterSetting, nodes: readonly string[], random: () => number): readonly Workload[] {
  const anyNode = (): string => nodes[Math.floor(random() * nodes.length)] ?? '';
  return [
    ...Array.from({ length: setting.daemonSets }, (_, index) => lasting(`daemonset_${index}`, nodes, random)),
    ...Array.from({ length: setting.deployments }, (_, index) => {
      const wanted = DEPLOYMENT_PODS[index % DEPLOYMENT_PODS.length] ?? 1;
      return lasting(`deployment_${index}`, Array.from({ length: wanted }, anyNode), random);
    }),
    ...setting.cronJobMinutes.map((minutes, index) => cronJob(`cronjob ${minutes}_${index}`, minutes, anyNode, random)),
  ];
}

function kindOf(role: string): Kind {
  return role.slice(0, role.indexOf('_'));
}

function podOf(role: string, nodeName: string, number: number): PodRecord {
  const uid = `${role} ${number}`;
  return podRecord({ uid, name: uid, role, nodeName, hostIps: [] });
}

/** Pods that come in one minute and stay. */
function lasting(role: string, nodes: readonly string[], random: () => number): Workload {
  const pods = nodes.map((node, number) => podOf(role, node, number));
  const first = Math.floor(random() * START_MINUTES);
  const asking = Map.groupBy(pods, () => Math.floor(random() * ASK_MINUTES));
  return {
    role,
    isCronJob: false,
    come: (minute) => (minute === first ? pods : []),
    gone: () => [],
    askAgain: (minute) => (minute > first ? (asking.get(minute % ASK_MINUTES) ?? []) : []),
  };
}

/** A pod every so many minutes, that goes before the next one comes. */
function cronJob(role: string, everyMinutes: number, anyNode: () => string, random: () => number): Workload {
  const first = Math.floor(random() * everyMinutes);
  let pod: PodRecord | undefined;
  return {
    role,
    isCronJob: true,
    come: (minute) => {
      if (minute % everyMinutes !== first) return [];
      pod = podOf(role, anyNode(), minute);
      return [pod];
    },
    gone: (minute) =>
      pod !== undefined && minute % everyMinutes === (first + RUN_MINUTES) % everyMinutes ? [pod] : [],
    askAgain: () => [],
  };
}
