import { type Daemon, FROM_SOURCES, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { agentTokens, nodeAddress, podAddress, putPod, SERVER_RULES_WITH_TOKENS } from './many-nodes.ts';
import { pause } from './place.ts';
import { type Figure, fixed, percentile } from './report.ts';
import type { Setting } from './setting.ts';
import { simulatedAgents } from './simulated-agents.ts';

const STS_MS = 200;
const RATE = 200;
const PODS_OF_NODE = 50;
const ASK_EVERY_MS = 250;
const LOOK_EVERY_MS = 50;
const LIMIT_MS = 120_000;

/** A replica that knows nothing: how long until it has all identities, who waits meanwhile, and what agents lose. */
export async function measureColdStart({ bundles, quick }: Setting): Promise<Figure> {
  const nodeCount = quick ? 8 : 40;
  const count = nodeCount * PODS_OF_NODE;
  const nodes = Array.from({ length: nodeCount }, (_, node) => ({ name: `node-${node}`, address: nodeAddress(node) }));
  const cluster = await startCluster(
    { nodes, serverRules: SERVER_RULES_WITH_TOKENS },
    { ...FROM_SOURCES, server: [...bundles.server.node, bundles.server.file] },
  );
  try {
    const { world } = cluster;
    const { sts } = world;
    sts.everywhere({ delayMs: STS_MS });
    world.namespace('team', '.*');
    const pods = nodes.flatMap((_, node) =>
      Array.from({ length: PODS_OF_NODE }, (_, pod) => {
        const role = `role-${node}-${pod}`;
        const ip = podAddress(node, pod);
        putPod(world, { name: `pod-${node}-${pod}`, node, address: ip, role });
        return { node, ip, role };
      }),
    );
    const startAgents = await simulatedAgents(world, agentTokens(world, nodeCount));
    const startServer = (flags: readonly string[] = []): Promise<Daemon> =>
      cluster.startServer({ flags: ['--agent-identity=token', '--level=info', `--sts-rate=${RATE}`, ...flags] });
    const server = await startServer();
    const agents = startAgents(server.port);
    const held = (): number =>
      agents.stores.reduce(
        (sum, store, node) =>
          sum +
          pods.filter(({ node: of, ip }) => {
            const pod = of === node ? store.find(ip) : undefined;
            return pod !== undefined && store.credentialsOf(pod) !== undefined;
          }).length,
        0,
      );
    /** From now on, pods that a server has not fetched for yet ask, and agents' memories are looked at. */
    const watch = async (): Promise<Omit<ColdStart, 'calls'>> => {
      const fromMs = performance.now();
      const isCalled = (role: string): boolean =>
        sts.calls.countOf({ roleArn: world.roleBaseArn + role, sessionName: 'kiam-kiam', externalId: '' }) > 0;
      const waits: number[] = [];
      const asking: Promise<unknown>[] = [];
      let refused = 0;
      let leastHeld = count;
      for (let lookedAt = 0; sts.calls.count() < count; lookedAt += LOOK_EVERY_MS) {
        if (performance.now() - fromMs > LIMIT_MS) throw new Error(`${sts.calls.count()} calls`);
        leastHeld = Math.min(leastHeld, held());
        const pod = lookedAt % ASK_EVERY_MS === 0 ? pods.findLast(({ role }) => !isCalled(role)) : undefined;
        if (pod !== undefined && agents.isLive(pod.node)) {
          const askedMs = performance.now();
          asking.push(
            agents.ask(pod.node, pod).then((isServed) => {
              if (isServed) waits.push(performance.now() - askedMs);
              else refused += 1;
            }),
          );
        }
        await pause(LOOK_EVERY_MS);
      }
      await Promise.all(asking);
      await eventually('every agent holds all of its pods’ credentials', LIMIT_MS, () => held() === count);
      return { seconds: (performance.now() - fromMs) / 1000, waits, refused, leastHeld };
    };
    const first = { ...(await watch()), calls: callsOf(sts.calls.list()) };
    await server.child.stop('SIGKILL');
    sts.calls.clear();
    await startServer([`--bind=127.0.0.1:${server.port}`]);
    const second = { ...(await watch()), calls: callsOf(sts.calls.list()) };
    agents.close();
    return {
      name: 'cold',
      title: `a replica that knows nothing: ${fixed(count)} identities, STS taking ${STS_MS} ms`,
      method: [
        `${fixed(nodeCount)} agents, each with ${PODS_OF_NODE} pods that have a role each, --sts-rate=${RATE}; first all of them come to a server at once, then that is killed and replaced by one that knows nothing`,
        `meanwhile a pod whose role has not been assumed yet asks every ${ASK_EVERY_MS} ms, past its agent's memory; agents, STS and the API server share the machine`,
      ],
      rows: [
        ...rowsOf('agents come with nothing', first, count),
        ...rowsOf('agents hold the sets of the replica before', second, count),
      ],
      data: { first, second },
    };
  } finally {
    await cluster.close();
  }
}

interface ColdStart {
  /** Until agents hold everything. */
  readonly seconds: number;
  /** Of the pods that asked meanwhile, in milliseconds. */
  readonly waits: readonly number[];
  readonly refused: number;
  /** Of the pods whose credentials an agent held, at the worst moment. */
  readonly leastHeld: number;
  readonly calls: Calls;
}

interface Calls {
  readonly count: number;
  readonly twice: number;
  readonly mostInSecond: number;
}

function callsOf(calls: readonly { readonly atMs: number; readonly roleArn: string }[]): Calls {
  const assumed = calls.filter(({ roleArn }) => roleArn !== '');
  const times = assumed.map(({ atMs }) => atMs).toSorted((one, other) => one - other);
  const mostInSecond = Math.max(
    ...times.map((atMs, index) => times.findLastIndex((other) => other < atMs + 1000) - index + 1),
  );
  return {
    count: assumed.length,
    twice: assumed.length - new Set(assumed.map(({ roleArn }) => roleArn)).size,
    mostInSecond,
  };
}

function rowsOf(what: string, { seconds, waits, refused, leastHeld, calls }: ColdStart, count: number): Figure['rows'] {
  return [
    { figure: `${what}: all fetched, and told to the agents`, value: `${fixed(seconds, 1)} s`, target: '<= 15 s' },
    {
      figure: `${what}: calls of STS`,
      value: `${fixed(calls.count)}, ${calls.twice} of them again; ${calls.mostInSecond} in a second at most`,
      target: `${fixed(count)}, 0; ${RATE}`,
    },
    {
      figure: `${what}: pods that asked meanwhile`,
      value: `${waits.length} served after ${fixed(percentile(waits, 0.5))} / ${fixed(percentile(waits, 1))} ms (p50 / max), ${refused} refused`,
      target: 'max <= 1 s, 0 refused',
    },
    ...(leastHeld === 0
      ? []
      : [
          {
            figure: `${what}: sets that agents held at the worst moment`,
            value: `${fixed(leastHeld)} of ${fixed(count)}`,
            target: 'all',
          },
        ]),
  ];
}
