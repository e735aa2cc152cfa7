import type { PodRecord } from '#domain/pod.ts';

import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { ManualClock } from './manual-clock.ts';
import { ModelAgent, ModelPods, type ModelReplica, startReplica } from './model-replicas.ts';
import { podRecord } from './pods.ts';

const MINUTE_MS = 60_000;

/** On how many nodes the pods of one identity are. */
export type Spread = 'one node' | 'three nodes' | 'every node';

export interface ReplicaSetting {
  readonly replicas: number;
  readonly spread: Spread;
  /** Whether the agents have streams; those of Kiam have none, and ask the replicas in turn. */
  readonly hasStreams: boolean;
  /** Whether the servers are replaced one after the other, once, in the middle. */
  readonly isRolledOut: boolean;
}

export interface ReplicaFigures {
  /** Calls of AssumeRole of all replicas together, for each identity and hour. */
  readonly perIdentityHour: number;
  /** The same for each identity and replica that has the stream of one of its nodes. */
  readonly perIdentityReplicaHour: number;
}

/**
 * The servers' part of prefetch and renewal and the agents' choice of a replica over `hours` of injected time, before an STS that
 * grants an hour. Each pod's SDK has its agent ask a server once in fifty minutes, as where the agent may not answer from memory.
 */
export async function measureReplicaCalls(
  { replicas: count, spread, hasStreams, isRolledOut }: ReplicaSetting,
  { hours, identities, nodes: nodeCount }: { hours: number; identities: number; nodes: number },
): Promise<ReplicaFigures> {
  const clock = new ManualClock();
  const random = repeatableRandom();
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => `node-${index}`);
  const pods = podsOf(nodeNames, spread, identities, random);
  let calls = 0;
  const start = (): ModelReplica => startReplica({ clock, random, pods, onCall: () => (calls += 1) });
  const servers = new Map(Array.from({ length: count }, (_, index) => [`10.0.0.${index}`, start()]));
  const agents = nodeNames.map((name) => new ModelAgent(name, { clock, random, servers }));
  const ask = (pod: PodRecord): void => agents.find(({ node }) => node === pod.nodeName)?.ask(pod, hasStreams);
  const atMinutes = new Map<PodRecord, number>([...pods.pods()].map((pod) => [pod, Math.floor(random() * 50)]));
  let homes = 0;
  for (let minute = 0; minute < hours * 60; minute += 1) {
    if (hasStreams) for (const agent of agents) agent.follow();
    if (minute === 5) homes = countHomes(pods, agents);
    for (const [pod, atMinute] of atMinutes) if (minute % 50 === atMinute) ask(pod);
    const replaced = isRolledOut ? minute - (hours * 60) / 2 : -1;
    if (replaced >= 0 && replaced < count) {
      const address = `10.0.0.${replaced}`;
      servers.get(address)?.stop();
      servers.delete(address);
      for (const agent of agents) agent.follow();
      await clock.advance(10_000);
      servers.set(address, start());
      await clock.advance(MINUTE_MS - 10_000);
    } else await clock.advance(MINUTE_MS);
  }
  for (const server of servers.values()) server.stop();
  const perIdentityHour = calls / identities / hours;
  return { perIdentityHour, perIdentityReplicaHour: hasStreams ? calls / homes / hours : perIdentityHour / count };
}

function podsOf(nodes: readonly string[], spread: Spread, identities: number, random: () => number) {
  const pods = new ModelPods();
  for (let identity = 0; identity < identities; identity += 1) {
    const first = Math.floor(random() * nodes.length);
    const wanted = spread === 'every node' ? nodes.length : spread === 'one node' ? 1 : 3;
    for (let index = 0; index < wanted; index += 1) {
      const nodeName = nodes[(first + index * (spread === 'three nodes' ? 7 : 1)) % nodes.length] ?? '';
      const uid = `${identity}-${index}`;
      pods.put(podRecord({ uid, name: uid, role: `role-${identity}`, nodeName, hostIps: [] }));
    }
  }
  return pods;
}

/** How many pairs there are of an identity and a replica with the stream of one of its nodes. */
function countHomes(pods: ModelPods, agents: readonly ModelAgent[]): number {
  const homeOf = new Map(agents.map(({ node, home }) => [node, home]));
  return new Set([...pods.pods()].map(({ role, nodeName }) => `${role} ${homeOf.get(nodeName)}`)).size;
}
