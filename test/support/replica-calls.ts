import { plainSessions } from '#domain/attribution.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import { type Identity, identityOf } from '#domain/identity.ts';
import type { NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import { Replicas } from '#rpc/replicas.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import { Prefetch } from '#server/prefetch.ts';
import { PrefetchedNodes } from '#server/prefetched-nodes.ts';

import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { ManualClock } from './manual-clock.ts';
import { podRecord } from './pods.ts';
import { recordingLogger } from './recording-logger.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const NEVER = new AbortController().signal;

/** A stream moves on before its connection's age of 15 minutes. */
const STREAM_MS = 12 * MINUTE_MS;

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

interface Server {
  readonly cache: StsCredentialCache;
  readonly feeds: NodeFeeds;
  readonly nodes: PrefetchedNodes;
  stop(): void;
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
  const start = (): Server => startServer({ clock, random, pods, onCall: () => (calls += 1) });
  const servers = new Map(Array.from({ length: count }, (_, index) => [`10.0.0.${index}`, start()]));
  const agents = nodeNames.map((name) => new Agent(name, { clock, random, servers }));
  const ask = (pod: PodRecord): void => {
    const agent = agents.find(({ node }) => node === pod.nodeName);
    const server = servers.get(agent?.replicas.choose(new Set()) ?? '');
    server?.nodes.asked(pod, hasStreams);
    void server?.cache.get(identify(pod), 'request', NEVER);
  };
  const atMinutes = new Map<PodRecord, number>([...pods.values()].map((pod) => [pod, Math.floor(random() * 50)]));
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

function identify(pod: PodRecord): Identity {
  return identityOf(pod, `arn:aws:iam::123456789012:role/${pod.role}`, plainSessions('kiam'));
}

function podsOf(nodes: readonly string[], spread: Spread, identities: number, random: () => number) {
  const pods = new Map<string, PodRecord>();
  for (let identity = 0; identity < identities; identity += 1) {
    const first = Math.floor(random() * nodes.length);
    const wanted = spread === 'every node' ? nodes.length : spread === 'one node' ? 1 : 3;
    for (let index = 0; index < wanted; index += 1) {
      const nodeName = nodes[(first + index * (spread === 'three nodes' ? 7 : 1)) % nodes.length] ?? '';
      const uid = `${identity}-${index}`;
      pods.set(uid, podRecord({ uid, name: uid, role: `role-${identity}`, nodeName, hostIps: [] }));
    }
  }
  return pods;
}

/** How many pairs there are of an identity and a replica with the stream of one of its nodes. */
function countHomes(pods: ReadonlyMap<string, PodRecord>, agents: readonly Agent[]): number {
  const homeOf = new Map(agents.map(({ node, home }) => [node, home]));
  return new Set([...pods.values()].map(({ role, nodeName }) => `${role} ${homeOf.get(nodeName)}`)).size;
}

function startServer(options: {
  readonly clock: ManualClock;
  readonly random: () => number;
  readonly pods: ReadonlyMap<string, PodRecord>;
  readonly onCall: () => void;
}): Server {
  const { clock, random, pods, onCall } = options;
  const { logger } = recordingLogger();
  const assumeRole = () => {
    onCall();
    const nowMs = clock.now();
    const value = {
      accessKeyId: 'ASIA',
      secretAccessKey: 'SECRET',
      sessionToken: 'TOKEN',
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + HOUR_MS,
    };
    return Promise.resolve({ ok: true, value, grantedMs: HOUR_MS, clockOffsetMs: 0, packedPolicyPercent: 0 } as const);
  };
  const cache = new StsCredentialCache({
    sts: { assumeRole },
    clock,
    logger,
    sessionMs: HOUR_MS,
    sessionRefreshMs: 0,
    defaultSessionName: 'kiam',
    random,
  });
  const view = {
    byUid: (uid: string) => pods.get(uid),
    pods: () => pods.values(),
    find: () => ({ kind: 'none' }) as const,
    subscribe: () => () => {},
  };
  const feeds = new NodeFeeds();
  const nodes = new PrefetchedNodes({ feeds, clock, rememberMs: HOUR_MS });
  const prefetch = new Prefetch({
    pods: view,
    namespaces: { subscribe: () => () => {} },
    credentials: cache,
    identify,
    nodes,
    index: new NodeIndex(view),
    fetchers: 8,
    clock,
    logger,
  });
  const stop = (): void => {
    for (const part of [prefetch, nodes, cache]) part.close();
  };
  return { cache, feeds, nodes, stop };
}

/** The agent's part: which replica it has its stream to, and which it asks. */
class Agent {
  readonly node: string;
  readonly replicas: Replicas;
  home = '';
  readonly #clock: ManualClock;
  readonly #servers: ReadonlyMap<string, Server>;
  #server: Server | undefined;
  #endMs = Number.NEGATIVE_INFINITY;
  #leave: () => void = () => {};

  constructor(
    node: string,
    options: { clock: ManualClock; random: () => number; servers: ReadonlyMap<string, Server> },
  ) {
    this.node = node;
    this.#clock = options.clock;
    this.#servers = options.servers;
    this.replicas = new Replicas(options.clock, options.random);
    this.#update();
  }

  /** Opens another stream where the present one is over, or its server has gone. */
  follow(): void {
    this.#update();
    const isOver = this.#clock.monotonic() >= this.#endMs || this.#servers.get(this.home) !== this.#server;
    if (!isOver) return;
    this.#leave();
    this.home = this.replicas.chooseForStream(this.node) ?? '';
    this.#server = this.#servers.get(this.home);
    const node: NodeId = { by: 'name', name: this.node };
    const left = this.#server?.feeds.add(node, { inspect: () => NOTHING });
    const ended = this.replicas.streamOpened(this.home);
    this.#leave = () => {
      left?.();
      ended(true);
    };
    this.#endMs = this.#clock.monotonic() + STREAM_MS;
  }

  #update(): void {
    const names = [...this.#servers.keys()];
    this.replicas.update(new Set(names), names);
  }
}

const NOTHING = {
  peer: '',
  openForMs: 0,
  isSynced: true,
  isBehind: false,
  isChanging: false,
  identityKey: undefined,
  hasCredentials: false,
};
