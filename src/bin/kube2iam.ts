import { type Answer, createAnswer } from '#agent/answer.ts';
import { createAgentApp } from '#agent/app.ts';
import { createEvidenceReader } from '#agent/evidence/evidence.ts';
import { kernelFiles } from '#agent/evidence/kernel-files.ts';
import { countedEvidence } from '#agent/evidence/metrics.ts';
import { createAgentHttpMetrics } from '#agent/metrics.ts';
import type { CredentialSource } from '#agent/ports.ts';
import { compileRouteExpression } from '#agent/route-expression.ts';
import { kube2iamRoleArn, LONGEST_LIST } from '#domain/allowed-roles.ts';
import { plainSessions } from '#domain/attribution.ts';
import type { NodeId } from '#domain/node.ts';
import { createConnection } from '#kubernetes/connection.ts';
import { type Kubernetes, startKubernetes } from '#kubernetes/kubernetes.ts';
import { createKubernetesMetrics } from '#kubernetes/metrics.ts';
import { parseNamespaceObject } from '#kubernetes/namespace-record.ts';
import { debugStore } from '#kube2iam/debug-store.ts';
import { createKube2iamDialect } from '#kube2iam/dialect.ts';
import { createInProcessGateway, createInProcessStream } from '#kube2iam/in-process.ts';
import { createKube2iamMetrics } from '#kube2iam/metrics.ts';
import { createKube2iamPolicy } from '#kube2iam/policy.ts';
import { createMetadataClient, type MetadataClient } from '#metadata/client.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import { createSlots } from '#runtime/slots.ts';
import { createTurnBudget } from '#runtime/turn-budget.ts';
import { Confirmation } from '#server/confirmation.ts';
import { NodeIndex } from '#server/node-index.ts';
import { Prefetch } from '#server/prefetch.ts';
import { createService } from '#server/service.ts';
import { createMetadataMetrics } from '#telemetry/kiam-metrics.ts';
import { createRendering } from '#telemetry/listener.ts';
import { createRegistry } from '#telemetry/registry.ts';
import type { Registry } from 'prom-client';

import { resolveBaseArn, resolveNodeRole } from './base-arn.ts';
import { createCredentials, identify } from './credentials.ts';
import { type Daemon, runDaemon } from './daemon.ts';
import { endDrained } from './drain.ts';
import type { Kube2iamFlags } from './flags/kube2iam.ts';
import { podLimits } from './flags/pod-limits.ts';
import { parseInterface } from './flags/values.ts';
import { startInterception } from './interception.ts';
import { startMonitoring } from './monitoring.ts';
import { startNodeParts } from './node-memory.ts';
import { kiamVersion } from './version.ts';

/** One name, so that all pods of the node that have a role share its session. */
const SESSION = 'kube2iam';
const SESSIONS = plainSessions(SESSION);
const MAX_VIEW_AGE_MS = 30_000;
const SERVE_STALE_MS = 30_000;
const FETCHERS = 8;
/** Calls a second. Every node has such a process, and STS counts the calls of all of them. */
const STS_RATE = 50;
const UPDATES_IN_TURN = 50;
/** The longest life of a stream; within one process there is no reason for a shorter one. */
const STREAM_LIFETIME_MS = 86_400_000;

export function runKube2iam(asked: { readonly flags: Kube2iamFlags; readonly warnings: readonly string[] }): void {
  const { flags } = asked;
  const logging = { jsonLog: flags.logFormat === 'json', level: flags.verbose ? 'debug' : flags.logLevel } as const;
  runDaemon('kube2iam', logging, asked.warnings, (daemon) => startKube2iam(flags, daemon));
}

/** The base ARN and the default role, from flags or from the metadata service. */
interface RoleNames {
  readonly baseArn: string;
  readonly defaultRoleArn: string;
}

async function startKube2iam(flags: Kube2iamFlags, daemon: Daemon): Promise<void> {
  const { clock, logger, shutdown } = daemon;
  const allowedRoutes = compileRouteExpression(flags.allowRouteRegexp);
  if (!allowedRoutes.ok) throw new Error(`--allow-route-regexp: ${allowedRoutes.reason}`);
  const registry = createRegistry({ processMetrics: true });
  let unready: string | undefined = 'the pods and namespaces are not known yet';
  const rules = startInterception(interceptionFlags(flags), daemon, registry);
  const prometheusListenAddr = isMetricsPortShared(flags) ? undefined : { host: '', port: flags.metricsPort ?? 0 };
  const problems = (): readonly string[] => [unready, rules.problem()].filter((reason) => reason !== undefined);
  startMonitoring(
    { prometheusListenAddr, pprofListenAddr: undefined, pprofAllowRemote: false },
    daemon,
    registry,
    problems,
  );

  const metadata = createMetadataClient({ endpoint: flags.metadataAddr, clock });
  shutdown.add({ name: 'metadata client', limitMs: 1000, close: () => metadata.close() });
  const names = await resolveNames(flags, daemon);
  if (names === undefined) return;
  const metrics = createKube2iamMetrics({
    registry,
    version: kiamVersion(),
    isHealthy: () => isAnswering(metadata, shutdown.signal),
  });
  const kubernetes = startView(flags, names, daemon, registry);
  const policy = createKube2iamPolicy({
    ...names,
    namespaces: kubernetes.namespaces,
    restriction: flags.namespaceRestrictions ? flags.namespaceRestrictionFormat : undefined,
  });
  const node: NodeId | undefined = flags.node === '' ? undefined : { by: 'name', name: flags.node };
  const parts = { flags, names, daemon, registry, kubernetes, policy, node, metrics };
  const readEvidence = countedEvidence(createEvidenceReader(kernelFiles, clock), registry, logger);
  const source = startSource(parts, readEvidence);
  const render = createRendering(registry, clock);
  const own = new Map<string, () => Answer | Promise<Answer>>();
  if (flags.debug) own.set('/debug/store', () => text(debugStore(kubernetes.pods.pods(), kubernetes.namespaces.all())));
  if (isMetricsPortShared(flags)) {
    own.set('/metrics', async () => text(await render(), registry.contentType));
  }
  const app = createAgentApp({
    source,
    readEvidence,
    metadata,
    clock,
    logger,
    logsDebug: flags.verbose || flags.logLevel === 'debug',
    metrics: createMetadataMetrics(registry),
    httpMetrics: createAgentHttpMetrics(registry),
    allowedRoutes: allowedRoutes.expression,
    waitMs: flags.backoffMaxElapsedTimeMs,
    podLimits: podLimits(flags),
    dialect: createKube2iamDialect({
      baseArn: names.baseArn,
      hostIp: flags.hostIp,
      pods: kubernetes.pods,
      node,
      permits: (pod) => policy.permits(pod),
      own,
    }),
    onAnswer: metrics.onAnswer,
  });
  await app.ready();
  await kubernetes.ready;
  if (shutdown.signal.aborted) return;
  endDrained('http', app, daemon);
  const port = await listenWhenFree(app.server, {
    target: { host: '', port: flags.appPort },
    clock,
    signal: shutdown.signal,
    onWait: (error) => logger.error('cannot listen for pods yet; retrying', { port: flags.appPort, error }),
  });
  unready = undefined;
  logger.info('listening', { address: `:${port}` });
}

function interceptionFlags(flags: Kube2iamFlags): Parameters<typeof startInterception>[0] {
  const everywhere = parseInterface('+');
  if (!everywhere.ok) throw new Error(everywhere.reason);
  return {
    iptables: flags.iptables,
    host: flags.hostIp === '' ? [] : [flags.hostIp],
    port: flags.appPort,
    hostInterface: flags.hostInterface,
    guardInterface: everywhere.value,
    iptablesRemove: false,
    iptablesRemoveGuard: false,
  };
}

/** With port 0 each listener gets a port of its own, so the two cannot be the same. */
function isMetricsPortShared({ metricsPort, appPort }: Kube2iamFlags): boolean {
  return metricsPort === undefined || (metricsPort === appPort && appPort !== 0);
}

async function resolveNames(flags: Kube2iamFlags, daemon: Daemon): Promise<RoleNames | undefined> {
  const { autoDiscoverBaseArn, autoDiscoverDefaultRole, metadataAddr: metadataEndpoint } = flags;
  const detects = autoDiscoverBaseArn || autoDiscoverDefaultRole;
  const given = { roleBaseArn: flags.baseRoleArn, roleBaseArnAutodetect: detects, metadataEndpoint };
  const baseArn = await resolveBaseArn(given, daemon);
  const role = autoDiscoverDefaultRole ? await resolveNodeRole(metadataEndpoint, daemon) : flags.defaultRole;
  if (baseArn === undefined || role === undefined) return undefined;
  return { baseArn, defaultRoleArn: kube2iamRoleArn(role, baseArn) };
}

function startView(
  flags: Kube2iamFlags,
  { baseArn, defaultRoleArn }: RoleNames,
  { clock, logger, shutdown }: Daemon,
  registry: Registry,
): Kubernetes {
  const isNamed = flags.apiServer !== '' && flags.apiToken !== '';
  return startKubernetes({
    connection: createConnection({
      kubeconfig: flags.kubeconfig,
      named: { server: isNamed ? flags.apiServer : '', token: flags.apiToken, insecure: flags.insecure },
      clock,
      environment: process.env,
    }),
    clock,
    logger,
    metrics: createKubernetesMetrics(registry),
    signal: shutdown.signal,
    syncMs: 0,
    binding: 'pod',
    nodeName: flags.node,
    podKeys: {
      role: flags.iamRoleKey,
      sessionName: '',
      externalId: flags.iamExternalId,
      roleOf: (annotated) => (annotated === undefined ? defaultRoleArn : kube2iamRoleArn(annotated, baseArn)),
    },
    parseNamespace: (value) => parseNamespaceObject(value, LONGEST_LIST + 1, flags.namespaceKey),
  });
}

interface Parts {
  readonly flags: Kube2iamFlags;
  readonly names: RoleNames;
  readonly daemon: Daemon;
  readonly registry: Registry;
  readonly kubernetes: Kubernetes;
  readonly policy: ReturnType<typeof createKube2iamPolicy>;
  readonly node: NodeId | undefined;
  readonly metrics: ReturnType<typeof createKube2iamMetrics>;
}

/** Only pods of this node are watched, so every pod is. */
const EVERY_NODE = { has: () => true, subscribe: () => () => {} };

/** The agent's memory, fed by the server's service in the same process, without gRPC. */
function startSource(parts: Parts, readEvidence: ReturnType<typeof createEvidenceReader>): CredentialSource {
  const { flags, names, daemon, registry, kubernetes, policy, node, metrics } = parts;
  const { clock, logger, shutdown } = daemon;
  const { pods, namespaces } = kubernetes;
  const sts = {
    region: process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION'] ?? '',
    session: SESSION,
    sessionDurationMs: 2 * flags.iamRoleSessionTtlMs,
    sessionRefreshMs: flags.iamRoleSessionTtlMs,
    assumeRoleArn: '',
    stsRate: STS_RATE,
  };
  const through = (given: Parameters<typeof metrics.timed>[0]) => metrics.timed(given, clock);
  const { credentials, proof } = createCredentials(sts, names.baseArn, daemon, registry, through);
  void proof.run(shutdown.signal);
  const viewAgeMs = (): number => kubernetes.status().pods.confirmedAgeMs;
  const identifyPod = (pod: Parameters<typeof identify>[1]) => identify(policy, pod, SESSIONS);
  const handlers = createService({
    pods,
    policy,
    credentials: metrics.countHits(credentials),
    confirmation: new Confirmation({
      reader: { readPod: (...pod) => kubernetes.readPod(...pod), viewAgeMs },
      pods,
      clock,
      maxViewAgeMs: MAX_VIEW_AGE_MS,
    }),
    scope: { of: () => Promise.resolve(node === undefined ? { kind: 'any' } : { kind: 'node', node }) },
    // kube2iam writes no Events, and its ClusterRole does not allow it to.
    events: { warning: () => {} },
    logger,
    clock,
    sessions: SESSIONS,
    longestWaitMs: flags.backoffMaxElapsedTimeMs,
    reports: { take: () => false },
  });
  const index = new NodeIndex(pods);
  const stream = createInProcessStream(
    {
      index,
      pods,
      namespaces,
      credentials,
      identify: identifyPod,
      noteRevoked: () => {},
      silenceMs: () => kubernetes.status().pods.silenceMs,
      viewAgeMs,
      maxViewAgeMs: MAX_VIEW_AGE_MS,
      clock,
      wholeSets: createSlots(1),
      awaitTurn: createTurnBudget(UPDATES_IN_TURN),
      lifetimeMs: STREAM_LIFETIME_MS,
      closing: shutdown.signal,
    },
    node ?? { by: 'name', name: '' },
  );
  const prefetch = new Prefetch({
    pods,
    namespaces,
    credentials,
    identify: identifyPod,
    nodes: EVERY_NODE,
    index,
    fetchers: FETCHERS,
    clock,
    logger,
  });
  shutdown.add({ name: 'prefetch', limitMs: 1000, close: () => prefetch.close() });
  const memory = {
    openGateway: () => createInProcessGateway(handlers, flags.backoffMaxElapsedTimeMs),
    client: stream,
    registry,
    readEvidence,
    hostIp: flags.hostIp,
    isStoreKept: node !== undefined,
    serveStaleMs: SERVE_STALE_MS,
    // The server is in this process: nobody is told.
    concerns: () => [],
    details: () => ({
      version: kiamVersion(),
      redirect: 'unknown' as const,
      guard: 'unknown' as const,
      lastError: undefined,
    }),
  };
  return metrics.countKnown(startNodeParts(memory, daemon).source);
}

async function isAnswering(metadata: MetadataClient, signal: AbortSignal): Promise<boolean> {
  const outcome = await metadata.get('/latest/meta-data/instance-id', { signal });
  return outcome.ok && outcome.answer.status === 200;
}

function text(body: string | Buffer, type = 'text/plain; charset=utf-8'): Answer {
  return createAnswer(200, { 'content-type': type }, body);
}
