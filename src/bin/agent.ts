import { createAgentApp } from '#agent/app.ts';
import { createEvidenceReader } from '#agent/evidence/evidence.ts';
import { kernelFiles } from '#agent/evidence/kernel-files.ts';
import { countedEvidence } from '#agent/evidence/metrics.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import type { Concern } from '#agent/node/reporter.ts';
import { compileRouteExpression } from '#agent/route-expression.ts';
import { createMetadataClient } from '#metadata/client.ts';
import { AgentToken } from '#rpc/agent-token.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createGateway } from '#rpc/gateway.ts';
import { ServerMonitor } from '#rpc/server-monitor.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createKubernetesKiamMetrics, createMetadataMetrics, createStsMetrics } from '#telemetry/kiam-metrics.ts';
import { rememberErrors } from '#telemetry/last-error.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { openAuditLog } from './audit-log.ts';
import { watchCertificates } from './certificates.ts';
import { startContainerCredentials } from './container-credentials.ts';
import { type Daemon, runDaemon } from './daemon.ts';
import type { AgentFlags } from './flags/agent.ts';
import { podLimits } from './flags/pod-limits.ts';
import { redirectTargetsOf, runGuardOnly, runUninstall, startInterception } from './interception.ts';
import { clientKeepalive } from './keepalive.ts';
import { endDrained } from './drain.ts';
import { startMonitoring } from './monitoring.ts';
import { startNodeParts } from './node-memory.ts';
import { waitBesidePredecessor } from './predecessor.ts';
import { startedFile } from './started-file.ts';
import { kiamVersion } from './version.ts';

/**
 * A server that knows no pod for the address answers so within this time; the agent then asks again for as long as the client
 * can wait.
 */
const QUESTION_MS = 900;

const WITHOUT_IPTABLES = 'the agent runs without --iptables: it does not know whether requests of pods reach it';

export function runAgent({
  flags,
  warnings,
}: {
  flags: AgentFlags;
  warnings: readonly string[];
}): Promise<void> | void {
  if (flags.guardOnly) return runGuardOnly(flags);
  if (flags.uninstall) return runUninstall(flags);
  return runDaemon('agent', flags, warnings, (daemon) => startAgent(flags, daemon));
}

async function startAgent(flags: AgentFlags, given: Daemon): Promise<void> {
  const { clock, shutdown } = given;
  const { logger, lastError } = rememberErrors(given.logger, clock);
  const daemon = { ...given, logger };
  const allowedRoutes = compileRouteExpression(flags.allowRouteRegexp);
  if (!allowedRoutes.ok) throw new Error(`--allow-route-regexp: ${allowedRoutes.reason}`);

  const registry = createRegistry({ processMetrics: true });
  // Kiam's agent shows these too, always at zero; dashboards may sum over both daemons.
  createStsMetrics(registry);
  createKubernetesKiamMetrics(registry);

  // Before anything that could take time: what protects the node's role comes first.
  const rules = startInterception(flags, daemon, registry);
  const concerns: Concern[] = [{ reason: 'RedirectOrGuardMissing', problem: rules.problem }];
  let isListening = false;
  const notListening: Concern = {
    reason: 'NotListening',
    problem: () => (isListening ? undefined : `not listening on port ${flags.port} yet`),
  };
  const problems = (): readonly string[] =>
    concerns.map(({ problem }) => problem()).filter((problem) => problem !== undefined);
  startMonitoring(flags, daemon, registry, problems);

  const certificates = await watchCertificates(flags, daemon, createTlsMetrics(registry, 'client'));
  concerns.push({ reason: 'CertificateInvalid', problem: () => certificates.problem });

  const client = new KiamClient({
    contract: loadContract(),
    serverAddress: flags.serverAddress.text,
    certificates,
    keepalive: clientKeepalive(flags),
    counters: createGrpcMetrics(registry, 'client'),
    token: await watchAgentToken(flags.agentTokenFile, daemon),
  });
  shutdown.add({ name: 'gateway', limitMs: 1000, close: () => client.close() });
  const monitor = new ServerMonitor({ client, clock, logger, limitMs: flags.gatewayTimeoutCreationMs });
  void monitor.run(shutdown.signal);
  concerns.push({ reason: 'NoServerAnswers', problem: () => monitor.problem });

  const metadata = createMetadataClient({ endpoint: flags.metadataEndpoint, clock });
  shutdown.add({ name: 'metadata client', limitMs: 1000, close: () => metadata.close() });

  const readEvidence = countedEvidence(createEvidenceReader(kernelFiles, clock), registry, logger);
  const targets = redirectTargetsOf(flags);
  const unproven = targets === undefined ? WITHOUT_IPTABLES : undefined;
  const memory = {
    openGateway: (isWatching: () => boolean) => createGateway({ client, clock, waitMs: QUESTION_MS, isWatching }),
    client,
    registry,
    readEvidence,
    hostIp: targets?.ipv4 ?? targets?.ipv6 ?? '',
    isStoreKept: flags.nodeStore,
    serveStaleMs: flags.serveStaleMs,
    audit: openAuditLog(flags.auditLog, { clock, logger }),
    // While it waits beside its predecessor this agent answers nobody, which is no reason for it to wait.
    concerns: () => [...concerns, notListening, { reason: 'InterceptionUnknown', problem: () => unproven }],
    details: () => ({ version: kiamVersion(), ...rules.states(), lastError: lastError() }),
  };
  const node = startNodeParts(memory, daemon);
  const served = {
    readEvidence,
    metrics: createMetadataMetrics(registry),
    httpMetrics: createAgentHttpMetrics(registry),
  };
  const app = createAgentApp({
    ...served,
    source: node.source,
    metadata,
    clock,
    // What pods are refused is no error of the agent's own.
    logger: given.logger,
    logsDebug: flags.level === 'debug',
    allowedRoutes: allowedRoutes.expression,
    ...(flags.waitMs === undefined ? {} : { waitMs: flags.waitMs }),
    requireImdsv2: flags.requireImdsv2,
    allowIpQuery: flags.allowIpQuery,
    podLimits: podLimits(flags),
  });
  await app.ready();
  endDrained('http', app, daemon);

  const started = startedFile(flags.startedFile, daemon);
  const { listenAddress: host } = flags;
  const { stream } = node;
  const untold = (): readonly string[] =>
    flags.nodeStore && stream.isOffered && !stream.isLive ? ['no server has told which pods are here'] : [];
  await waitBesidePredecessor({
    host,
    port: flags.port,
    reasons: () => [...problems(), ...untold()],
    clock,
    logger,
    signal: shutdown.signal,
  });
  const container = await startContainerCredentials(flags, daemon, { ...served, node, registry });
  concerns.push({ reason: 'ContainerCredentialsUnavailable', problem: container }, notListening);
  const port = await listenWhenFree(app.server, {
    target: { host, port: flags.port },
    sharesPort: process.platform === 'linux',
    clock,
    signal: shutdown.signal,
    onWait: (error) => logger.error('cannot listen for pods yet; retrying', { port: flags.port, error }),
  });
  isListening = true;
  started.write();
  logger.info('listening', { address: `${flags.listenAddress}:${port}` });
}

async function watchAgentToken(path: string | undefined, { clock, logger, shutdown }: Daemon): Promise<() => string> {
  if (path === undefined) return () => '';
  const token = new AgentToken({ path, clock, logger });
  await token.refresh();
  void token.watch(shutdown.signal);
  return () => token.current;
}
