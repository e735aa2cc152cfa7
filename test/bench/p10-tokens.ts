import type { Child } from '#sandbox/child.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { DISCOVERY, podToken } from '../support/pod-token.ts';
import { type LoadGenerator, type Measured, startLoadGenerator } from './load.ts';
import type { Job } from './messages.ts';
import { LISTING, NO_LIMITS, pause } from './place.ts';
import { type Figure, fixed, median, type Row, statusText } from './report.ts';
import type { Setting } from './setting.ts';

const RATE = 1000;
const TITLE = { name: 'p10', title: 'container credentials' };

/**
 * P10: container credentials by a token beside the instance metadata, both from the same agent through its redirect, then with
 * nobody left to ask. In network namespaces: on loopback no interface shows whose an address is.
 */
export async function measureTokens({ quick }: Setting): Promise<Figure> {
  const skip = await networkSkip();
  if (skip !== false) return { ...TITLE, method: [`not measured: ${skip}`], rows: [], data: {} };
  const node = await createKernelNode({ label: 'p10', backend: 'nft', serverRules: [...SERVER_RULES, DISCOVERY] });
  try {
    return await measureOn(node, quick);
  } finally {
    await node.remove();
  }
}

interface Asked {
  readonly name: string;
  readonly load: LoadGenerator;
  readonly job: Pick<Job, 'host' | 'path' | 'headers' | 'from'>;
}

async function measureOn(node: KernelNode, quick: boolean): Promise<Figure> {
  const { world, network } = node;
  const { server, watch } = await startDaemons(node);
  const pod = await world.pod({ namespace: 'team', name: 'warm', role: 'warm' });
  const onNode = await world.pod({ namespace: 'team', name: 'host', role: 'host', hostNetwork: true });
  const byToken = (who: WorldPod, from: string): Asked['job'] => ({
    host: '169.254.170.23',
    path: '/v1/credentials',
    headers: `Host: 169.254.170.23\r\nAuthorization: ${podToken(world, who)}\r\n`,
    from: [from],
  });
  const loads = [node.podExec(pod.address), node.nodeExec].map((exec) =>
    startLoadGenerator(world.environment.clean, exec),
  );
  const [inPod, inNode] = loads;
  if (inPod === undefined || inNode === undefined) throw new Error('two load generators were started');
  const headers = 'Host: 169.254.169.254\r\n';
  const metadata = { host: '169.254.169.254', path: `${LISTING}warm`, headers, from: [pod.address] };
  const asked: readonly Asked[] = [
    { name: 'instance metadata', load: inPod, job: metadata },
    { name: 'by token', load: inPod, job: byToken(pod, pod.address) },
    { name: 'by token, host network', load: inNode, job: byToken(onNode, network.node.address) },
  ];
  try {
    const attended = await runRounds(asked, watch, quick);
    await server.stop('SIGKILL');
    await world.api.listener.stop();
    return figureOf(attended, await runRounds(asked.slice(1), watch, quick), quick);
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
}

/** `watch`: the agent, whose CPU time is read. */
async function startDaemons(node: KernelNode): Promise<{ server: Child; watch: Watch }> {
  node.world.namespace('team', '.*');
  // As nodes have it: by this way packets for an address of the link leave the node's own programs.
  const gateway = /via (\S+)/.exec(await node.onNode('ip', 'route', 'get', '169.254.169.254'))?.[1] ?? '';
  await node.onNode('ip', 'route', 'add', 'default', 'via', gateway);
  const server = await node.startServer(['--container-credentials']);
  const agent = node.startAgent({ flags: ['--container-credentials', '--level=info', ...NO_LIMITS] });
  await node.intercepts(agent);
  await agent.line(/"msg":"a server answers"/);
  return { server, watch: { agent: agent.process.pid ?? 0 } };
}

type Watch = Readonly<Record<string, number>>;
type Results = ReadonlyMap<string, readonly Measured[]>;
const ROUNDS = 3;

async function runRounds(asked: readonly Asked[], watch: Watch, quick: boolean): Promise<Results> {
  const measured = new Map<string, Measured[]>(asked.map(({ name }) => [name, []]));
  const times = { warmUpMs: quick ? 500 : 1000, durationMs: quick ? 800 : 3000 };
  const steady = { kind: 'open', connections: 32, requestsPerSecond: RATE, port: 80, ...times } as const;
  // What is asked for the first time waits for a server.
  for (const { load, job } of asked) await load.run({ ...steady, ...job, kind: 'once', connections: 1 });
  await pause(1000);
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    for (const { name, load, job } of asked) measured.get(name)?.push(await load.run({ ...steady, ...job }, watch));
  }
  return measured;
}

function figureOf(attended: Results, alone: Results, quick: boolean): Figure {
  const p99Of = (results: readonly Measured[] = []): number => median(results.map(({ latency }) => latency.p99Ms));
  const cpuOf = (results: readonly Measured[] = []): number =>
    median(results.map(({ cpuUsPerRequest }) => cpuUsPerRequest['agent'] ?? Number.NaN));
  const metadata = attended.get('instance metadata');
  const rowsOf = (results: Results, how: string): Row[] =>
    [...results].map(([name, rounds]) => {
      const p50 = median(rounds.map(({ latency }) => latency.p50Ms));
      const p99 = p99Of(rounds);
      const statuses = statusText(rounds.at(-1)?.statuses ?? {});
      return {
        figure: `${name}, ${fixed(RATE)}/s${how}`,
        value: `p50 ${fixed(p50, 2)} ms, p99 ${fixed(p99, 2)} ms (${fixed(p99 / p99Of(metadata), 2)} x instance metadata), agent ${fixed(cpuOf(rounds))} us/request (${fixed(cpuOf(rounds) / cpuOf(metadata), 2)} x), ${statuses}`,
        target: 'p99 <= 5 ms',
      };
    });
  const lateness = metadata?.[0]?.lateness;
  return {
    ...TITLE,
    method: [
      `from sources, in network namespaces, through the redirect; medians of ${quick ? 1 : ROUNDS} interleaved rounds on 32 connections, timed from when a request was due`,
      `the generator itself sent at most ${fixed(lateness?.p99Ms ?? 0, 2)} ms late at p99, which is within the latencies`,
      'the token is the same for all requests, as SDKs send it until the kubelet renews it',
      'nobody to ask: the server killed and the API server gone',
    ],
    rows: [...rowsOf(attended, ''), ...rowsOf(alone, ', nobody to ask')],
    data: { attended: Object.fromEntries(attended), alone: Object.fromEntries(alone) },
  };
}
