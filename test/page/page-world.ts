import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { World } from '#sandbox/world.ts';

import { type SimulatedAgents, simulatedAgents } from '../bench/simulated-agents.ts';
import { type Cluster, type Daemon, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';

export interface PageWorldOptions {
  readonly nodes: number;
  /** The first so many nodes have an agent with a stream to the server. */
  readonly agents: number;
  readonly pods: number;
  readonly roles: number;
}

/** A cluster whose server shows its page, with agents on its nodes. */
export interface PageWorld {
  readonly world: World;
  readonly server: Daemon;
  readonly url: string;
  readonly agents: SimulatedAgents;
  close(): Promise<void>;
}

export const TEAMS = ['payments', 'checkout', 'search', 'catalogue', 'billing', 'ingest', 'reports', 'mail'];
const APPS = ['api', 'worker', 'importer', 'cron', 'consumer'];
const START_LIMIT_MS = 60_000;

/** A pod as a cluster makes them; the same index is always the same pod. */
export function podAt(
  index: number,
  { nodes, roles }: PageWorldOptions,
): { namespace: string; name: string; role: string; node: number } {
  const team = TEAMS[index % TEAMS.length] ?? '';
  const app = APPS[Math.floor(index / TEAMS.length) % APPS.length] ?? '';
  const name = `${team}-${app}-${suffix(index * 7919, 9)}-${suffix(index * 104_729 + 17, 5)}`;
  return {
    namespace: team,
    name,
    role: `${team}/${app}-${Math.floor(index / 40) % Math.ceil(roles / 40)}`,
    node: (index * 13) % nodes,
  };
}

function suffix(seed: number, length: number): string {
  const letters = 'bcdfghjklmnpqrstvwxz2456789';
  let value = (seed * 2_654_435_761) % 2 ** 32;
  return Array.from({ length }, () => {
    value = (value * 1_103_515_245 + 12_345) % 2 ** 31;
    return letters[Math.floor((value / 2 ** 31) * letters.length)] ?? 'x';
  }).join('');
}

export async function startPageWorld(
  options: PageWorldOptions,
  prepare: (world: World) => void = () => {},
): Promise<PageWorld> {
  const rules = [
    ...SERVER_RULES,
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  ];
  const nodes = Array.from({ length: options.nodes }, (_, node) => ({
    name: nodeName(node),
    address: nodeAddress(node),
  }));
  const cluster = await startCluster({ nodes, serverRules: rules });
  try {
    return await startIn(cluster, options, prepare);
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

async function startIn(
  cluster: Cluster,
  options: PageWorldOptions,
  prepare: (world: World) => void,
): Promise<PageWorld> {
  const { world } = cluster;
  for (const team of TEAMS) world.namespace(team, `${world.roleBaseArn}${team}/.*`);
  for (let index = 0; index < options.pods; index += 1) putWorkload(world, { ...podAt(index, options), index });
  const tokens = agentTokens(world, options.agents);
  prepare(world);
  const port = await freePort();
  const server = await cluster.startServer({
    flags: ['--agent-identity=token', `--status-port=${port}`, '--level=info'],
  });
  await server.child.line(/"msg":"status page: listening"/);
  const startAgents = await simulatedAgents(world, tokens);
  const agents = startAgents(server.port);
  await eventually('every agent has its stream', START_LIMIT_MS, () => agents.live() === options.agents);
  return {
    world,
    server,
    url: `http://localhost:${port}/`,
    agents,
    close: async () => {
      agents.close();
      await cluster.close();
    },
  };
}

export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly role: string;
  readonly node: number;
  readonly index: number;
  readonly hostNetwork?: boolean;
}

export function putWorkload(world: World, { namespace, name, role, node, index, hostNetwork = false }: Workload): void {
  const address = hostNetwork ? nodeAddress(node) : `10.${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
  world.api.putPod({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, annotations: { 'iam.amazonaws.com/role': role } },
    spec: {
      nodeName: nodeName(node),
      containers: [{ name: 'main', image: 'app' }],
      ...(hostNetwork ? { hostNetwork } : {}),
    },
    status: { phase: 'Running', hostIP: nodeAddress(node), podIP: address, podIPs: [{ ip: address }] },
  });
}

export function nodeName(node: number): string {
  return `ip-10-0-${node >> 8}-${node & 255}.eu-west-1.compute.internal`;
}

function nodeAddress(node: number): string {
  return `127.2.${node >> 8}.${node & 255}`;
}

function agentTokens(world: World, count: number): string[] {
  world.api.createServiceAccount('kube-system', 'kiam-agent');
  return Array.from({ length: count }, (_, node) => {
    const name = `kiam-agent-${node}`;
    const stored = world.api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'kube-system', name },
      spec: { nodeName: nodeName(node), hostNetwork: true, containers: [{ name: 'main', image: 'app' }] },
      status: {
        phase: 'Running',
        hostIP: nodeAddress(node),
        podIP: nodeAddress(node),
        podIPs: [{ ip: nodeAddress(node) }],
      },
    });
    const { metadata } = stored as { metadata: { uid: string } };
    return world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount: 'kiam-agent',
      pod: { name, uid: metadata.uid },
      audiences: ['kiam-server'],
    });
  });
}
