import { type Daemon, FROM_SOURCES, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { buildBundles } from './bundles.ts';
import { printClusterCalls } from './cluster-calls.ts';
import { cpuMs, memoryOf } from './process-figures.ts';
import { agentTokens, nodeAddress, podAddress, putPod, SERVER_RULES_WITH_TOKENS } from './many-nodes.ts';
import { simulatedAgents } from './simulated-agents.ts';

// npm run simulate -- [--nodes=500] [--pods=20] [--roles=200] [--waves=10]: a real server process, and the agents' part of the
// contract for so many nodes, each over a TLS connection of its own. Prints what a stream and a pod cost the server, and what
// happens when all agents come back at once, again and again.
// npm run simulate -- --calls [--hours=2]: AssumeRole calls an hour of clusters of 1,000 and 5,000 nodes, in injected time.
const option = (name: string, fallback: number): number =>
  Number(process.argv.find((word) => word.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);
const nodeCount = option('nodes', 500);
const podsPerNode = option('pods', 20);
const waveCount = option('waves', 10);
const wanted = nodeCount * podsPerNode;
const roleCount = Math.min(option('roles', 200), wanted);
const LIMIT_MS = 300_000;

const say = (text: string): void => console.log(text);
const seconds = (fromMs: number): string => ((performance.now() - fromMs) / 1000).toFixed(1);

interface Figures {
  readonly rssMiB: number;
  readonly cpuSeconds: number;
  /** The p99 of the event loop's delay since the last look: each look begins a new measurement. */
  readonly delayMs: number;
}

async function look(server: Daemon): Promise<Figures> {
  const pid = server.child.process.pid ?? 0;
  const metrics = await server.metrics();
  const delay = /^nodejs_eventloop_lag_p99_seconds(?:\{.*\})? (\S+)$/m.exec(metrics)?.[1];
  return { rssMiB: memoryOf(pid).rssMiB, cpuSeconds: cpuMs(pid) / 1000, delayMs: Math.round(Number(delay) * 1000) };
}

/** How many pods the server knows, with those of the agents themselves. */
function podsKnown(metrics: string): number {
  return Number(/^kiam_k8s_objects\{resource="pods"\} (\S+)$/m.exec(metrics)?.[1] ?? 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function main(): Promise<void> {
  const bundles = buildBundles();
  const nodes = Array.from({ length: nodeCount }, (_, node) => ({ name: `node-${node}`, address: nodeAddress(node) }));
  const cluster = await startCluster(
    { nodes, serverRules: SERVER_RULES_WITH_TOKENS },
    { ...FROM_SOURCES, server: [...bundles.server.node, bundles.server.file] },
  );
  const { world } = cluster;
  world.namespace('team', '.*');
  const tokens = agentTokens(world, nodeCount);
  const startServer = (flags: readonly string[] = []): Promise<Daemon> =>
    cluster.startServer({ flags: ['--agent-identity=token', '--level=info', ...flags] });

  let server = await startServer();
  const empty = await look(server);
  say(
    `${nodeCount} nodes with ${podsPerNode} pods each, ${roleCount} roles; the server at rest: ${empty.rssMiB.toFixed(0)} MiB`,
  );
  for (let node = 0; node < nodeCount; node += 1) {
    for (let pod = 0; pod < podsPerNode; pod += 1) {
      const role = `role-${(node * podsPerNode + pod) % roleCount}`;
      putPod(world, { name: `pod-${node}-${pod}`, node, address: podAddress(node, pod), role });
    }
  }
  await eventually(
    'the server knows all pods',
    LIMIT_MS,
    async () => podsKnown(await server.metrics()) >= wanted + nodeCount,
  );
  const filled = await look(server);
  say(
    `with ${wanted} pods known: ${filled.rssMiB.toFixed(0)} MiB, ${(filled.cpuSeconds - empty.cpuSeconds).toFixed(1)} CPU s; event-loop delay p99 ${filled.delayMs} ms`,
  );

  const startAgents = await simulatedAgents(world, tokens);
  let fromMs = performance.now();
  let agents = startAgents(server.port);
  const untilTold = (): Promise<number> =>
    eventually('every agent has its pods', LIMIT_MS, () => agents.live() === nodeCount && agents.heldPods() >= wanted);
  await untilTold();
  const took = seconds(fromMs);
  const synced = await look(server);
  say(
    `${nodeCount} streams and ${wanted} pods told in ${took} s, all from nothing at once (the agents share the machine)`,
  );
  say(
    `  server ${synced.rssMiB.toFixed(0)} MiB: ${(((synced.rssMiB - filled.rssMiB) * 1024) / nodeCount).toFixed(0)} KiB a stream; ${(((synced.cpuSeconds - filled.cpuSeconds) * 1000) / nodeCount).toFixed(1)} CPU ms a stream to begin; event-loop delay p99 ${synced.delayMs} ms`,
  );

  const idleFrom = await look(server);
  await pause(10_000);
  const idleTo = await look(server);
  say(
    `  at rest, heartbeats and watches: ${((idleTo.cpuSeconds - idleFrom.cpuSeconds) * 10).toFixed(1)} % of a core; event-loop delay p99 ${idleTo.delayMs} ms`,
  );

  const roleArnOf = (node: number): string | undefined => agents.stores[node]?.find(podAddress(node, 0))?.roleArn;
  fromMs = performance.now();
  world.namespace('team');
  await eventually('every pod has lost its role', 60_000, () => nodes.every((_, node) => roleArnOf(node) === ''));
  const revoked = await look(server);
  say(
    `  a namespace of ${wanted} pods permits no longer: all ${nodeCount} agents know after ${seconds(fromMs)} s; event-loop delay p99 ${revoked.delayMs} ms`,
  );
  world.namespace('team', '.*');
  await eventually('every pod has its role again', 60_000, () =>
    nodes.every((_, node) => (roleArnOf(node) ?? '') !== ''),
  );

  fromMs = performance.now();
  const waves: Figures[] = [];
  for (let wave = 0; wave < waveCount; wave += 1) {
    agents.close();
    agents = startAgents(server.port);
    await untilTold();
    waves.push(await look(server));
  }
  if (waveCount > 0) {
    const of = (figure: (wave: Figures) => number): string => waves.map((wave) => figure(wave).toFixed(0)).join(', ');
    say(
      `${waveCount} times all ${nodeCount} agents go and come back at once, without jitter: ${seconds(fromMs)} s in all; exits: ${exitsOf(server)}`,
    );
    say(
      `  event-loop delay p99 in each: ${of(({ delayMs }) => delayMs)} ms; server after each: ${of(({ rssMiB }) => rssMiB)} MiB`,
    );
  }

  // The server dies; another one comes at the same place, and every agent comes back when it finds it.
  const { port } = server;
  await server.child.stop('SIGKILL');
  await pause(7000);
  if (agents.live() > 0) throw new Error('agents of a dead server have a live stream');
  server = await startServer([`--bind=127.0.0.1:${port}`]);
  fromMs = performance.now();
  await look(server);
  await untilTold();
  const backDelayMs = (await look(server)).delayMs;
  say(
    `the server killed and replaced: all ${nodeCount} agents back and told ${seconds(fromMs)} s after it serves; event-loop delay p99 ${backDelayMs} ms; exits: ${exitsOf(server)}`,
  );
  agents.close();
  await cluster.close();
}

function exitsOf(server: Daemon): number {
  return server.child.process.exitCode === null ? 0 : 1;
}

if (process.argv.includes('--calls')) await printClusterCalls(option('hours', 2), say);
else await main();
process.exit(0);
