import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { NodeStore } from '#agent/node/store.ts';
import { NodeStream } from '#agent/node/stream.ts';
import { systemClock } from '#runtime/clock.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';

import { type Daemon, FROM_SOURCES, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { buildBundles } from './bundles.ts';
import { cpuMs, memoryOf } from './process-figures.ts';

// npm run simulate -- [--nodes=500] [--pods=20] [--roles=200]: a real server process, and the agents' part of the contract for
// so many nodes, each over a TLS connection of its own. Prints what a stream and a pod cost the server.
const option = (name: string, fallback: number): number =>
  Number(process.argv.find((word) => word.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);
const nodeCount = option('nodes', 500);
const podsPerNode = option('pods', 20);
const roleCount = Math.min(option('roles', 200), nodeCount * podsPerNode);

const nodeAddress = (node: number): string => `127.2.${node >> 8}.${node & 255}`;
const podAddress = (node: number, pod: number): string => `10.${node >> 8}.${node & 255}.${pod + 2}`;
const say = (text: string): void => console.log(text);

/** What deploy/server-rbac.yaml grants. */
const SERVER_RULES_WITH_TOKENS = [
  ...SERVER_RULES,
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
];

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function figuresOf({ child }: Daemon): { rssMiB: number; cpuSeconds: number } {
  const pid = child.process.pid ?? 0;
  return { rssMiB: memoryOf(pid).rssMiB, cpuSeconds: cpuMs(pid) / 1000 };
}

/** The p99 of the event loop's delay since the last look, in milliseconds: a look at the metrics begins a new measurement. */
function eventLoopDelayMs(metrics: string): number {
  return Number(/^nodejs_eventloop_lag_p99_seconds(?:\{.*\})? (\S+)$/m.exec(metrics)?.[1]) * 1000;
}

async function eventLoopDelay(server: Daemon): Promise<string> {
  return `${eventLoopDelayMs(await server.metrics()).toFixed(0)} ms`;
}

async function main(): Promise<void> {
  const bundles = buildBundles();
  const names = Array.from({ length: nodeCount }, (_, node) => ({ name: `node-${node}`, address: nodeAddress(node) }));
  const cluster = await startCluster(
    { nodes: names, serverRules: SERVER_RULES_WITH_TOKENS },
    { ...FROM_SOURCES, server: [process.execPath, ...bundles.nodeOptions, bundles.server] },
  );
  const { world } = cluster;
  world.namespace('team', '.*');
  world.api.createServiceAccount('kube-system', 'kiam-agent');
  const put = (
    namespace: string,
    name: string,
    node: number,
    address: string,
    extra: object,
    role?: string,
  ): string => {
    const stored = world.api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, annotations: role === undefined ? {} : { 'iam.amazonaws.com/role': role } },
      spec: { nodeName: `node-${node}`, containers: [{ name: 'main', image: 'app' }], ...extra },
      status: { phase: 'Running', hostIP: nodeAddress(node), podIP: address, podIPs: [{ ip: address }] },
    });
    const { metadata } = stored as { metadata: { uid: string } };
    return metadata.uid;
  };
  const tokens = names.map(({ name }, node) => {
    const uid = put('kube-system', `kiam-agent-${node}`, node, nodeAddress(node), { hostNetwork: true });
    return world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount: 'kiam-agent',
      pod: { name: `kiam-agent-${node}`, uid },
      node: { name, uid: name },
      audiences: ['kiam-server'],
    });
  });

  let server = await cluster.startServer({ flags: ['--agent-identity=token', '--level=info'] });
  const empty = figuresOf(server);
  say(
    `${nodeCount} nodes with ${podsPerNode} pods each, ${roleCount} roles; the server at rest: ${empty.rssMiB.toFixed(0)} MiB`,
  );
  for (let node = 0; node < nodeCount; node += 1) {
    for (let pod = 0; pod < podsPerNode; pod += 1) {
      const role = `role-${(node * podsPerNode + pod) % roleCount}`;
      put('team', `pod-${node}-${pod}`, node, podAddress(node, pod), {}, role);
    }
  }
  const wanted = nodeCount * podsPerNode;
  await eventually('all roles are prefetched', 300_000, () => world.sts.calls.count() >= roleCount);
  const filled = figuresOf(server);
  const filledDelay = await eventLoopDelay(server);
  say(
    `with ${wanted} pods known: ${filled.rssMiB.toFixed(0)} MiB, ${(filled.cpuSeconds - empty.cpuSeconds).toFixed(1)} CPU s; event-loop delay p99 ${filledDelay}`,
  );

  // The agents' part: what bin/agent.ts composes, without its HTTP server.
  const { ca, agentCertificate, agentKey } = world.certificates;
  const registry = createRegistry({ processMetrics: false });
  const certificates = new CertificateWatcher({
    files: { certPath: agentCertificate, keyPath: agentKey, caPath: ca },
    clock: systemClock,
    logger: recordingLogger().logger,
    gauges: createTlsMetrics(registry, 'client'),
  });
  await certificates.refresh();
  const counters = createGrpcMetrics(registry, 'client');
  const contract = loadContract();
  const stop = new AbortController();
  const open = (port: number) =>
    tokens.map((token) => {
      const client = new KiamClient({
        contract,
        serverAddress: `localhost:${port}`,
        certificates,
        keepalive: { timeMs: 60_000, timeoutMs: 20_000, permitWithoutStream: false },
        counters,
        token: () => token,
      });
      const store = new NodeStore();
      const stream = new NodeStream({
        client,
        store,
        clock: systemClock,
        logger: recordingLogger().logger,
        hostIp: '',
      });
      void stream.run(stop.signal);
      return { client, store, stream };
    });
  const startedMs = performance.now();
  const agents = open(server.port);
  const heldPods = (): number => agents.reduce((sum, { store }) => sum + store.size, 0);
  // Each node also has its agent's own pod, which is on the host's network and so is not told.
  await eventually(
    'every agent has its pods',
    300_000,
    () => agents.every(({ stream }) => stream.isLive) && heldPods() >= wanted,
  );
  const syncMs = performance.now() - startedMs;
  const synced = figuresOf(server);
  say(`  event-loop delay of the server meanwhile, p99: ${await eventLoopDelay(server)}`);
  say(
    `${nodeCount} streams and ${heldPods()} pods told in ${(syncMs / 1000).toFixed(1)} s, all from nothing at once (the agents share the machine)`,
  );
  say(
    `  server ${synced.rssMiB.toFixed(0)} MiB: ${(((synced.rssMiB - filled.rssMiB) * 1024) / nodeCount).toFixed(0)} KiB a stream; ${(((synced.cpuSeconds - filled.cpuSeconds) * 1000) / nodeCount).toFixed(1)} CPU ms a stream to begin`,
  );

  const idleFrom = figuresOf(server);
  await pause(10_000);
  const idleTo = figuresOf(server);
  say(`  at rest, heartbeats and watches: ${((idleTo.cpuSeconds - idleFrom.cpuSeconds) * 10).toFixed(1)} % of a core`);

  const revokeMs = performance.now();
  world.namespace('team');
  const revoked = (): boolean =>
    agents.every(({ store }, node) => (store.find(podAddress(node, 0))?.roleArn ?? 'x') === '');
  await eventually('every pod has lost its role', 60_000, revoked);
  say(
    `  a namespace of ${wanted} pods permits no longer: all ${nodeCount} agents know after ${Math.round(performance.now() - revokeMs)} ms`,
  );
  world.namespace('team', '.*');
  await eventually('every pod has its role again', 60_000, () =>
    agents.every(({ store }, node) => (store.find(podAddress(node, 0))?.roleArn ?? '') !== ''),
  );
  say(`  event-loop delay of the server since the streams began, p99: ${await eventLoopDelay(server)}`);

  // The server dies; another one comes at the same place, and every agent comes back at once.
  const { port } = server;
  await server.child.stop('SIGKILL');
  server = await cluster.startServer({ flags: ['--agent-identity=token', '--level=info', `--bind=127.0.0.1:${port}`] });
  const backFrom = performance.now();
  let worstDelayMs = 0;
  const streamsOf = async (): Promise<number> => {
    const metrics = await server.metrics();
    worstDelayMs = Math.max(worstDelayMs, eventLoopDelayMs(metrics));
    await pause(1000);
    return Number(/^grpc_server_msg_received_total\{.*"WatchNode"\} (\d+)$/m.exec(metrics)?.[1] ?? 0);
  };
  await eventually('every agent is back', 300_000, async () => (await streamsOf()) >= nodeCount);
  say(
    `the server killed and replaced: all ${nodeCount} agents back ${((performance.now() - backFrom) / 1000).toFixed(1)} s after it serves; exits: ${server.child.process.exitCode === null ? 0 : 1}`,
  );
  say(`  event-loop delay of the new server meanwhile, p99 of each second, the worst: ${worstDelayMs.toFixed(0)} ms`);
  stop.abort();
  for (const { client } of agents) client.close();
  await cluster.close();
}

await main();
process.exit(0);
