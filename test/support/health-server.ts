import { succeeded } from '#domain/failure.ts';
import type { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { loadContract } from '#rpc/contract.ts';
import { createHandshakeMetrics } from '#rpc/metrics.ts';
import { KiamServer } from '#rpc/server.ts';
import { systemClock } from '#runtime/clock.ts';
import { createGrpcMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { recordingLogger } from './recording-logger.ts';

export interface HealthServer {
  readonly server: KiamServer;
  /** How many handshakes have had an outcome, such as `done` or `failed`. */
  readonly count: (outcome: string) => Promise<number>;
}

/** A server that answers GetHealth with `ok`, and is asked for nothing else. */
export function createHealthServer(certificates: CertificateWatcher): HealthServer {
  const registry = createRegistry({ processMetrics: false });
  const server = new KiamServer({
    contract: loadContract(),
    handlers: {
      GetPodRole: () => Promise.reject(new Error('not asked here')),
      GetPodCredentials: () => Promise.reject(new Error('not asked here')),
      GetHealth: () => Promise.resolve(succeeded({ message: 'ok' })),
      ReportNode: () => Promise.resolve(succeeded({})),
    },
    watchNode: () => Promise.resolve('unproven'),
    certificates,
    clock: systemClock,
    counters: createGrpcMetrics(registry, 'server'),
    handshakes: createHandshakeMetrics(registry),
    onHandshake: () => {},
    logger: recordingLogger().logger,
    keepalive: { timeMs: 10_000, timeoutMs: 2000 },
    maxConnectionIdleMs: 900_000,
    maxConnectionAgeMs: 900_000,
    maxConnectionAgeGraceMs: 900_000,
  });
  return {
    server,
    count: async (outcome) => {
      const text = await registry.metrics();
      return Number(new RegExp(`kiam_server_handshakes_total\\{outcome="${outcome}"\\} (\\d+)`).exec(text)?.[1]);
    },
  };
}
