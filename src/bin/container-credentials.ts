import { networkInterfaces } from 'node:os';

import { createNodeAddressCheck } from '#agent/container/host-network.ts';
import { type ContainerMetrics, createContainerMetrics } from '#agent/container/metrics.ts';
import { createPodSource } from '#agent/container/pod-source.ts';
import { createContainerService } from '#agent/container/service.ts';
import { createTokenVerifier } from '#agent/container/token-verifier.ts';
import { createPodServer, type PodServerOptions } from '#agent/pod-server.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import type { Registry } from 'prom-client';

import type { Daemon } from './daemon.ts';
import { endDrained } from './drain.ts';
import type { AgentFlags } from './flags/agent.ts';
import { podLimits } from './flags/pod-limits.ts';
import type { NodeParts } from './node-memory.ts';

const LONGEST_WAIT_MS = 5000;

export interface ContainerCredentialsOptions extends Pick<
  PodServerOptions,
  'httpMetrics' | 'metrics' | 'readEvidence'
> {
  readonly node: NodeParts;
  readonly registry: Registry;
}

/**
 * Begins to serve container credentials, where `--container-credentials` says so. Returns why they are not served yet, for the
 * readiness report.
 */
export async function startContainerCredentials(
  flags: AgentFlags,
  daemon: Daemon,
  options: ContainerCredentialsOptions,
): Promise<() => string | undefined> {
  if (!flags.containerCredentials) return () => undefined;
  const { clock, logger, shutdown } = daemon;
  const service = createService(flags, daemon, options, createContainerMetrics(options.registry));
  const { source } = options.node;
  const app = createPodServer({ ...options, source, clock, logger, logsDebug: flags.level === 'debug' }, service);
  await app.ready();
  endDrained('container credentials', app, daemon);
  const { listenAddress: host, containerCredentialsPort: wantedPort } = flags;
  let isListening = false;
  const listen = async (): Promise<void> => {
    const port = await listenWhenFree(app.server, {
      target: { host, port: wantedPort },
      sharesPort: process.platform === 'linux',
      clock,
      signal: shutdown.signal,
      onWait: (error) =>
        logger.error('cannot listen for container credentials yet; retrying', { port: wantedPort, error }),
    });
    isListening = true;
    logger.info('container credentials: listening', { address: `${host}:${port}` });
  };
  void listen();
  return () => (isListening ? undefined : `not listening on port ${wantedPort} yet`);
}

function createService(
  flags: AgentFlags,
  { clock, logger }: Daemon,
  { node }: ContainerCredentialsOptions,
  metrics: ContainerMetrics,
): ReturnType<typeof createContainerService> {
  return createContainerService({
    source: createPodSource({
      ...node,
      clock,
      serveStaleMs: flags.serveStaleMs,
      isNodeAddress: createNodeAddressCheck(ownAddresses, clock),
    }),
    verifier: createTokenVerifier({
      authority: () => node.store.tokenAuthority,
      audience: flags.containerCredentialsAudience,
      now: () => clock.now(),
    }),
    clock,
    logger,
    metrics,
    podLimits: podLimits(flags),
    waitMs: flags.waitMs ?? LONGEST_WAIT_MS,
  });
}

/** Addresses of all interfaces of this machine, loopback included. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address));
}
