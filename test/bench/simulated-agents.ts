import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { NodeReporter } from '#agent/node/reporter.ts';
import { NodeStore } from '#agent/node/store.ts';
import { NodeStream } from '#agent/node/stream.ts';
import { systemClock } from '#runtime/clock.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import type { World } from '#sandbox/world.ts';

import { recordingLogger } from '../support/recording-logger.ts';

const DETAILS = { version: '0.1.0', redirect: 'present', guard: 'present', lastError: undefined, pods: 30 } as const;

/** So many agents before one server, each with a connection of its own. */
export interface SimulatedAgents {
  readonly stores: readonly NodeStore[];
  /** How many of them are told now what their pods may have. */
  live(): number;
  isLive(node: number): boolean;
  heldPods(): number;
  /** Asks a server for the credentials of a pod of a node, as an agent does where its memory has none; whether there were some. */
  ask(node: number, pod: { readonly ip: string; readonly role: string }): Promise<boolean>;
  close(): void;
}

export type StartAgents = (port: number) => SimulatedAgents;

/** The agents' part of the contract, one agent for each token: what `bin/agent.ts` composes, without its HTTP server. */
export async function simulatedAgents(world: World, tokens: readonly string[]): Promise<StartAgents> {
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
  return (port) => {
    const stop = new AbortController();
    const agents = tokens.map((token) => {
      const client = new KiamClient({
        contract,
        serverAddress: `localhost:${port}`,
        certificates,
        keepalive: { timeMs: 60_000, timeoutMs: 20_000, permitWithoutStream: false },
        counters,
        token: () => token,
      });
      const store = new NodeStore();
      const { logger } = recordingLogger();
      const reporter = new NodeReporter({ concerns: () => [], details: () => DETAILS, clock: systemClock });
      const stream = new NodeStream({ client, store, clock: systemClock, logger, hostIp: '', reporter });
      void stream.run(stop.signal);
      return { client, store, stream };
    });
    return {
      stores: agents.map(({ store }) => store),
      live: () => agents.filter(({ stream }) => stream.isLive).length,
      isLive: (node) => agents[node]?.stream.isLive === true,
      heldPods: () => agents.reduce((sum, { store }) => sum + store.size, 0),
      ask: async (node, pod) => {
        const options = { timeoutMs: 5000, signal: stop.signal };
        const outcome = await agents[node]?.client.call('GetPodCredentials', pod, options);
        return outcome?.ok === true;
      },
      close: () => {
        stop.abort();
        for (const { client } of agents) client.close();
      },
    };
  };
}
