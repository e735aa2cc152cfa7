import { createAgentApp } from '#agent/app.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import { compileRouteExpression } from '#agent/route-expression.ts';
import { createMetadataClient } from '#metadata/client.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createGateway } from '#rpc/gateway.ts';
import { ServerMonitor } from '#rpc/server-monitor.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createKubernetesKiamMetrics, createMetadataMetrics, createStsMetrics } from '#telemetry/kiam-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { watchCertificates } from './certificates.ts';
import { type Daemon, runDaemon } from './daemon.ts';
import type { AgentFlags } from './flags/agent.ts';
import { runGuardOnly, startInterception } from './interception.ts';
import { startMonitoring } from './monitoring.ts';

/** SPEC 12: what is under way may take this long to finish. */
const DRAIN_LIMIT_MS = 5000;

export function runAgent({
  flags,
  warnings,
}: {
  flags: AgentFlags;
  warnings: readonly string[];
}): Promise<void> | void {
  if (flags.interception.guardOnly) return runGuardOnly(flags);
  return runDaemon('agent', flags.logging, warnings, (daemon) => startAgent(flags, daemon));
}

async function startAgent(flags: AgentFlags, daemon: Daemon): Promise<void> {
  const { clock, logger, shutdown } = daemon;
  const { http, gateway: gatewayFlags } = flags;
  const allowedRoutes = compileRouteExpression(http.allowRouteRegexp);
  if (!allowedRoutes.ok) throw new Error(`--allow-route-regexp: ${allowedRoutes.reason}`);

  const registry = createRegistry({ processMetrics: true });
  // Kiam's agent shows these too, always at zero; dashboards may sum over both daemons.
  createStsMetrics(registry);
  createKubernetesKiamMetrics(registry);

  // Before anything that could take time: what protects the node's role comes first.
  const reasons = [startInterception(flags.interception, http.port, daemon, registry)];
  startMonitoring(flags.monitoring, daemon, registry, () =>
    reasons.map((reason) => reason()).filter((reason) => reason !== undefined),
  );

  const certificates = await watchCertificates(flags.tls, daemon, createTlsMetrics(registry, 'client'));
  reasons.push(() => certificates.problem);

  const client = new KiamClient({
    contract: loadContract(),
    serverAddress: gatewayFlags.serverAddress.text,
    certificates,
    keepalive: gatewayFlags.keepalive,
    counters: createGrpcMetrics(registry, 'client'),
  });
  shutdown.add({ name: 'gateway', limitMs: 1000, close: () => client.close() });
  const monitor = new ServerMonitor({ client, clock, logger, limitMs: gatewayFlags.creationTimeoutMs });
  void monitor.run(shutdown.signal);
  reasons.push(() => monitor.problem);

  const metadata = createMetadataClient({ endpoint: http.metadataEndpoint, clock });
  shutdown.add({ name: 'metadata client', limitMs: 1000, close: () => metadata.close() });

  const app = createAgentApp({
    source: createGateway({ client, clock, waitMs: http.waitMs }),
    metadata,
    clock,
    logger,
    logsDebug: flags.logging.level === 'debug',
    metrics: createMetadataMetrics(registry),
    httpMetrics: createAgentHttpMetrics(registry),
    allowedRoutes: allowedRoutes.expression,
    waitMs: http.waitMs,
    requireImdsv2: http.requireImdsv2,
    allowIpQuery: http.allowIpQuery,
    podLimits: {
      concurrency: http.podConcurrency,
      ratePerSecond: http.podRatePerSecond,
      burst: http.podRateBurst,
    },
  });
  await app.ready();
  shutdown.add({ name: 'http', limitMs: DRAIN_LIMIT_MS, close: () => app.close() });

  let listening = false;
  reasons.push(() => (listening ? undefined : `not listening on port ${http.port} yet`));
  const port = await listenWhenFree(app.server, {
    host: http.listenHost,
    port: http.port,
    clock,
    signal: shutdown.signal,
    onWait: (error) => logger.error('cannot listen for pods yet: trying on', { port: http.port, error }),
  });
  listening = true;
  logger.info('listening', { address: `${http.listenHost}:${port}` });
}
