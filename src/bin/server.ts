import { MOST_IN_FLIGHT } from '#aws/call-limiter.ts';
import type { Identity } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { startKubernetes } from '#kubernetes/kubernetes.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { listReader } from '#kubernetes/namespace-record.ts';
import { TokenAuthorityReader } from '#kubernetes/token-authority.ts';
import { createTokenReviewer } from '#kubernetes/token-review.ts';
import type { PageOptions } from '#page/page.ts';
import { loadContract } from '#rpc/contract.ts';
import { createHandshakeMetrics } from '#rpc/metrics.ts';
import { KiamServer } from '#rpc/server.ts';
import { createTurnBudget } from '#runtime/turn-budget.ts';
import { createSlots } from '#runtime/slots.ts';
import { AgentScope } from '#server/agent-scope.ts';
import { Confirmation } from '#server/confirmation.ts';
import { createExplainRoute, type ExplainRouteOptions } from '#server/explain/route.ts';
import type { StatusRouteOptions } from '#server/status/route.ts';
import type { WhoisRouteOptions } from '#server/whois/route.ts';
import { createServerMetrics } from '#server/metrics.ts';
import { NamespacePolicy } from '#server/namespace-policy.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import { NodeReports } from '#server/node-reports.ts';
import { createNodeWatch } from '#server/node-watch.ts';
import { Prefetch } from '#server/prefetch.ts';
import { PrefetchedNodes } from '#server/prefetched-nodes.ts';
import { FailedHandshakes } from '#server/failed-handshakes.ts';
import { createService } from '#server/service.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createKubernetesKiamMetrics, createMetadataMetrics } from '#telemetry/kiam-metrics.ts';
import { formatListenAddress } from '#telemetry/listen-address.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createActivity } from './activity.ts';
import { startAdmin } from './admin.ts';
import { resolveBaseArn } from './base-arn.ts';
import { watchCertificates } from './certificates.ts';
import { createCredentials, identify } from './credentials.ts';
import { type Daemon, runDaemon } from './daemon.ts';
import { createExplainer, nodeAsProven, viewOf } from './explainer.ts';
import type { ServerFlags } from './flags/server.ts';
import { sessionRules } from './flags/sessions.ts';
import { connectionBounds, serverKeepalive } from './keepalive.ts';
import { startMonitoring } from './monitoring.ts';
import { startNodeReadiness } from './node-readiness.ts';
import { startStatusPage } from './status-page.ts';

/** Streams are ended before the connection's maximum age would cut them. */
const STREAM_SHARE = 0.8;

/** Agents whose full set is assembled at a time. */
const WHOLE_SETS_AT_ONCE = 8;

/** Updates sent in one turn of the event loop: 10,000 in one turn blocked it for 0.6 s. */
const UPDATES_IN_TURN = 50;

/** The shortest time that an agent without a stream is remembered: a pod asks again before its session ends. */
const SHORTEST_MEMORY_MS = 3_600_000;

/** When the daemon stops, calls in progress may take this long to finish. */
const DRAIN_LIMIT_MS = 10_000;

export function runServer({ flags, warnings }: { flags: ServerFlags; warnings: readonly string[] }): void {
  runDaemon('server', flags, warnings, (daemon) => startServer(flags, daemon));
}

async function startServer(flags: ServerFlags, daemon: Daemon): Promise<void> {
  const { clock, logger, shutdown } = daemon;
  const registry = createRegistry({ processMetrics: true });
  createKubernetesKiamMetrics(registry);
  // Kiam's server shows the agent's metrics too, which stay at zero.
  createMetadataMetrics(registry);

  const waitingFor = new Set([
    'the base ARN of roles',
    'the pods, namespaces and ServiceAccounts of the cluster',
    'the gRPC listener',
  ]);
  let certificateProblem = (): string | undefined => 'no TLS certificate has been read yet';
  let identityProblem = (): string | undefined => undefined;
  const problems = (): readonly string[] => [
    ...[...waitingFor].map((what) => `waiting for ${what}`),
    ...[certificateProblem(), identityProblem()].filter((problem) => problem !== undefined),
  ];
  startMonitoring(flags, daemon, registry, problems);

  let explainPod: ExplainRouteOptions['explain'] = () => undefined;
  let collectStatus: StatusRouteOptions['status'] = () => undefined;
  let findPods: WhoisRouteOptions['whois'] = () => undefined;
  await startAdmin(flags.adminSocket, daemon, {
    explain: (namespace, name) => explainPod(namespace, name),
    status: (namespace) => collectStatus(namespace),
    whois: (accessKeyId) => findPods(accessKeyId),
    waitingFor: () => [...waitingFor],
  });
  let podSource: PageOptions['podSource'] = () => undefined;
  const feeds = new NodeFeeds();
  const activity = createActivity(clock, feeds);
  startStatusPage(flags.statusPort, daemon, {
    explain: createExplainRoute({
      explain: (namespace, name) => explainPod(namespace, name),
      waitingFor: () => [...waitingFor],
    }),
    status: () => collectStatus(''),
    podSource: () => podSource(),
    events: () => activity.events.all(),
    sts: () => activity.sts.lastHour(),
    waitingFor: () => [...waitingFor],
  });

  const certificates = await watchCertificates(flags, daemon, createTlsMetrics(registry, 'server'));
  certificateProblem = () => certificates.problem;

  const connection = createConnection({ kubeconfig: flags.kubeconfig, clock, environment: process.env });
  const kubernetesMetrics = createKubernetesMetrics(registry);
  const kubernetes = startKubernetes({
    connection,
    clock,
    logger,
    metrics: kubernetesMetrics,
    signal: shutdown.signal,
    syncMs: flags.syncMs,
    binding: flags.binding,
    allowedTags: flags.allowedSessionTags,
    parseNamespace: listReader(flags.namespacePolicy),
  });
  const { pods, namespaces, events } = kubernetes;
  const tokenKeys = flags.containerCredentials ? new TokenAuthorityReader({ connection, clock, logger }) : undefined;
  void tokenKeys?.run(shutdown.signal);

  const baseArn = await resolveBaseArn(flags, daemon);
  if (baseArn === undefined) return;
  waitingFor.delete('the base ARN of roles');
  const policy = new NamespacePolicy({
    namespaces,
    baseArn,
    strict: !flags.disableStrictNamespaceRegexp,
    listFormat: flags.namespaceRestrictionFormat,
    logger,
  });
  const { credentials, proof } = createCredentials(flags, baseArn, daemon, registry, activity.watched);
  void proof.run(shutdown.signal);
  identityProblem = () =>
    proof.problem === undefined ? undefined : `AWS has not accepted the server's own identity yet: ${proof.problem}`;

  const sessions = sessionRules(flags);
  const identifyPod = (pod: PodRecord): Identity | undefined => identify(policy, pod, sessions);
  const index = new NodeIndex(pods);
  const silenceMs = (): number => kubernetes.status().pods.silenceMs;
  const reports = new NodeReports();
  const failedHandshakes = new FailedHandshakes(clock, (address) => index.isNode(address));
  const nodes = new PrefetchedNodes({
    feeds,
    clock,
    rememberMs: Math.max(SHORTEST_MEMORY_MS, flags.sessionDurationMs),
  });
  shutdown.add({ name: 'nodes', limitMs: 1000, close: () => nodes.close() });
  const wholeSets = createSlots(WHOLE_SETS_AT_ONCE);
  const confirmation = new Confirmation({
    reader: {
      readPod: (namespace, name, signal) => kubernetes.readPod(namespace, name, signal),
      viewAgeMs: () => kubernetes.status().pods.confirmedAgeMs,
    },
    pods,
    clock,
    maxViewAgeMs: flags.maxViewAgeMs,
  });
  const scope = new AgentScope({
    mode: flags.agentIdentity,
    serviceAccount: flags.agentServiceAccount,
    index,
    pods,
    reviewToken: createTokenReviewer({ connection, clock, logger }),
    logger,
    countUnproven: createServerMetrics(registry, () => wholeSets.waiting).countUnproven,
  });
  const bounds = connectionBounds(flags);
  const server = new KiamServer({
    contract: loadContract(),
    handlers: createService({
      pods,
      policy,
      credentials,
      confirmation,
      scope,
      reports,
      events,
      logger,
      clock,
      sessions,
      noteAsked: (pod, isWatching) => nodes.asked(pod, isWatching),
    }),
    watchNode: createNodeWatch({
      scope,
      feeds,
      reports,
      index,
      pods,
      namespaces,
      credentials,
      tokenKeys,
      identify: identifyPod,
      noteRevoked: activity.noteRevoked,
      silenceMs,
      viewAgeMs: () => kubernetes.status().pods.confirmedAgeMs,
      maxViewAgeMs: flags.maxViewAgeMs,
      clock,
      wholeSets,
      awaitTurn: createTurnBudget(UPDATES_IN_TURN),
      lifetimeMs: bounds.maxConnectionAgeMs * STREAM_SHARE,
      closing: shutdown.signal,
    }),
    certificates,
    clock,
    counters: createGrpcMetrics(registry, 'server'),
    handshakes: createHandshakeMetrics(registry),
    onHandshake: (address, isDone) => failedHandshakes.note(address, isDone),
    logger,
    keepalive: serverKeepalive(flags),
    ...bounds,
  });
  shutdown.add({ name: 'gRPC connections', limitMs: 1000, close: () => server.stop() });

  await kubernetes.ready;
  waitingFor.delete('the pods, namespaces and ServiceAccounts of the cluster');
  if (shutdown.signal.aborted) return;
  startNodeReadiness(flags, daemon, {
    connection,
    kubernetesMetrics,
    registry,
    index,
    pods,
    reports,
    failedHandshakes,
  });
  const explain = createExplainer({ flags, baseArn, kubernetes, policy, confirmation, credentials, feeds });
  explainPod = explain;
  const statusSource = {
    pods,
    namespaces,
    nodeOf: (pod: PodRecord) => nodeAsProven(pod, flags.agentIdentity),
    servesTokens: flags.containerCredentials,
    identify: identifyPod,
    credentials,
    feeds,
    explain,
    baseArn,
    strict: !flags.disableStrictNamespaceRegexp,
    view: viewOf(kubernetes),
    problems,
    streams: () => feeds.count,
    certificateEndMs: () => certificates.current?.expiresAtMs,
    reports,
    index,
    nowMs: () => clock.now(),
  };
  podSource = () => statusSource;
  // Loaded when somebody asks: a server that nobody looks at does not keep it in memory.
  collectStatus = async (namespace) => (await import('./status-source.ts')).createStatus(statusSource)(namespace);
  findPods = async (accessKeyId) => (await import('./status-source.ts')).createWhois(statusSource)(accessKeyId);
  const prefetch = new Prefetch({
    pods,
    namespaces,
    credentials,
    identify: identifyPod,
    nodes,
    index,
    containerCredentials: flags.containerCredentials,
    fetchers: flags.fetchers ?? MOST_IN_FLIGHT,
    clock,
    logger,
  });
  shutdown.add({ name: 'prefetch', limitMs: 1000, close: () => prefetch.close() });
  const { host, port: wantedPort } = flags.bind;
  const port = await server.listen({ host: host === '' ? '0.0.0.0' : host, port: wantedPort });
  shutdown.add({ name: 'gRPC calls', limitMs: DRAIN_LIMIT_MS, close: () => server.drain() });
  waitingFor.delete('the gRPC listener');
  logger.info('will serve on', { address: formatListenAddress({ host, port }) });
}
