import { Metadata, status } from '@grpc/grpc-js';
import { Registry } from 'prom-client';

import { plainSessions, type SessionRules } from '#domain/attribution.ts';
import { createNodeMetrics } from '#agent/node/metrics.ts';
import { createNodeSource } from '#agent/node/source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { NodeStream } from '#agent/node/stream.ts';
import { Trust } from '#agent/node/trust.ts';
import type { CredentialSource, Evidence } from '#agent/ports.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import { unavailable } from '#aws/sts-failure.ts';
import { type Identity, identityOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { CallResult } from '#rpc/calls.ts';
import type { CallOptions, StreamEnd, WatchOptions } from '#rpc/client.ts';
import type { MethodName, Methods } from '#rpc/contract.ts';
import { createGateway } from '#rpc/gateway.ts';
import type { WatchNodeHandler } from '#rpc/agent-stream.ts';
import type { ServiceHandlers } from '#rpc/server.ts';
import { statusOf } from '#rpc/status.ts';
import { sleep } from '#runtime/clock.ts';
import { createTurnBudget } from '#runtime/turn-budget.ts';
import { createSlots } from '#runtime/slots.ts';
import { Confirmation } from '#server/confirmation.ts';
import { NamespacePolicy } from '#server/namespace-policy.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import { NodeReports } from '#server/node-reports.ts';
import { createNodeWatch } from '#server/node-watch.ts';
import type { Scope } from '#server/agent-scope.ts';
import { Prefetch } from '#server/prefetch.ts';
import { PrefetchedNodes } from '#server/prefetched-nodes.ts';
import { createService } from '#server/service.ts';

import type { ManualClock } from '../support/manual-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import type { TaggingSts } from './tagging-sts.ts';
import { type Truth, View } from './truth.ts';

export const NODE = '198.51.100.1';
export const NODE_NAME = 'node-1';
const BASE_ARN = 'arn:aws:iam::123456789012:role/';
const NEVER = new AbortController().signal;

/** What may be broken on purpose, to see that the model notices. */
export type Sabotage =
  | 'none'
  | 'trust ignores evidence'
  | 'connections are not told apart'
  | 'confirmation always holds'
  | 'gone is ignored'
  | 'STS is asked for the first pod of a role';

export interface Setting {
  readonly truth: Truth;
  readonly clock: ManualClock;
  readonly random: () => number;
  readonly hasEvidence: boolean;
  readonly sabotage: Sabotage;
  /** How long a session of STS lives; a quarter of an hour unless told. */
  readonly sessionMs?: number;
  /** Sessions with tags, and who issues them; without it each access key is the name of its role. */
  readonly tagged?: { readonly sessions: SessionRules; readonly sts: TaggingSts } | undefined;
}

/** One replica of the server, with everything of its own but the network. */
export interface Replica {
  readonly view: View;
  readonly handlers: ServiceHandlers;
  readonly watchNode: WatchNodeHandler;
  /** Aborts when the process dies: its streams break. */
  readonly death: AbortController;
}

export function startReplica(setting: Setting, watchDelayMs: number): Replica {
  const { truth, clock, random, sabotage, sessionMs = 900_000, tagged } = setting;
  const sessions = tagged?.sessions ?? plainSessions('kiam');
  const firstOfRole = new Map<string, Identity>();
  const view = new View(truth, watchDelayMs);
  const { pods } = view;
  const { logger } = recordingLogger();
  const namespaces = { get: (name: string) => ({ name, permitted: '.*' }), subscribe: () => () => {} };
  const policy = new NamespacePolicy({ namespaces, baseArn: BASE_ARN, strict: true, listFormat: 'glob', logger });
  const credentials = new StsCredentialCache({
    sts: {
      assumeRole: async (identity, signal) => {
        if (tagged === undefined) return issue(identity, { truth, delayMs: random() * 200, sessionMs });
        await sleep(clock, random() * 200, NEVER);
        const first = firstOfRole.get(identity.roleArn) ?? identity;
        firstOfRole.set(identity.roleArn, first);
        const isMixedUp = sabotage === 'STS is asked for the first pod of a role';
        return tagged.sts.assumeRole(isMixedUp ? first : identity, signal);
      },
    },
    clock,
    logger,
    sessionRefreshMs: 0,
    defaultSessionName: 'kiam',
    random,
  });
  const viewAgeMs = (): number => view.ageMs();
  const readPod = async (_namespace: string, name: string) => {
    await sleep(clock, random() * 20, NEVER);
    return truth.read(name);
  };
  const confirmation = new Confirmation({ reader: { readPod, viewAgeMs }, pods, clock, maxViewAgeMs: 30_000 });
  const scope = { of: (): Promise<Scope> => Promise.resolve({ kind: 'node', node: { by: 'name', name: NODE_NAME } }) };
  const identify = (pod: PodRecord): Identity | undefined => {
    const decision = policy.decide(pod, pod.role);
    return decision.allowed ? identityOf(pod, decision.roleArn, sessions) : undefined;
  };
  const feeds = new NodeFeeds();
  const reports = new NodeReports();
  const index = new NodeIndex(pods);
  const nodes = new PrefetchedNodes({ feeds, clock, rememberMs: 3_600_000 });
  const prefetch = new Prefetch({ pods, namespaces, credentials, identify, nodes, index, fetchers: 8, clock, logger });
  const death = new AbortController();
  death.signal.addEventListener('abort', () => {
    for (const part of [prefetch, nodes, credentials]) part.close();
  });
  return {
    view,
    death,
    handlers: createService({
      pods,
      policy,
      credentials,
      confirmation:
        sabotage === 'confirmation always holds'
          ? { confirm: () => Promise.resolve({ kind: 'holds', ageMs: 0 }) }
          : confirmation,
      scope,
      reports,
      events: { warning: () => {} },
      logger,
      clock,
      sessions,
      noteAsked: (pod, isWatching) => nodes.asked(pod, isWatching),
    }),
    watchNode: createNodeWatch({
      feeds,
      reports,
      scope,
      index,
      pods,
      namespaces,
      credentials,
      identify,
      noteRevoked: () => {},
      silenceMs: viewAgeMs,
      viewAgeMs,
      maxViewAgeMs: 30_000,
      clock,
      wholeSets: createSlots(8),
      awaitTurn: createTurnBudget(100),
      lifetimeMs: 45_000,
      closing: NEVER,
    }),
  };
}

/** STS: each key names the role that it is for. */
async function issue(
  identity: Identity,
  { truth, delayMs, sessionMs }: { truth: Truth; delayMs: number; sessionMs: number },
) {
  await sleep(truth.clock, delayMs, NEVER);
  if (!truth.isStsInReach) return unavailable('STS is away');
  const nowMs = truth.clock.now();
  const value = {
    accessKeyId: identity.roleArn.slice(BASE_ARN.length),
    secretAccessKey: 'SECRET',
    sessionToken: 'TOKEN',
    issuedAtMs: nowMs,
    expiresAtMs: nowMs + sessionMs,
  };
  return { ok: true, value, grantedMs: sessionMs, clockOffsetMs: 0, packedPolicyPercent: 0 } as const;
}

export interface Agent {
  readonly source: CredentialSource;
  readonly store: NodeStore;
  readEvidence(address: string): Evidence;
  stop(): void;
}

/** An agent before whichever replicas there are at the moment of each call. */
export function startAgent(setting: Setting, replicas: () => readonly Replica[]): Agent {
  const { truth, clock, random, hasEvidence, sabotage } = setting;
  const { logger } = recordingLogger();
  const readEvidence = (address: string): Evidence => {
    if (!hasEvidence) return { kind: 'none', reason: 'one route for all pods' };
    return sabotage === 'trust ignores evidence' ? { kind: 'interface', key: 'any' } : truth.evidence(address);
  };
  const trust: Trust = new Trust({
    clock,
    logger,
    readEvidence,
    isElsewhere: (before, now) => truth.isPlugged(before) && !(now.kind === 'interface' && now.key === before),
    maxAgeMs: () => store.maxViewAgeMs,
  });
  const store = new NodeStore((uid) => trust.forget(uid));
  const client = createClient({ clock, random, replicas });
  const stream = new NodeStream({
    client,
    store: {
      begin: () => store.begin(),
      clear: (moment) => store.clear(moment),
      apply: (update, moment) => {
        // A pod's end is told by name, or by the whole set of a stream in which it is missing.
        const isEnd = update.gone !== undefined || update.synced !== undefined;
        if (sabotage !== 'gone is ignored' || !isEnd) store.apply(update, moment);
      },
    },
    clock,
    logger,
    hostIp: NODE,
    reporter: { run: () => Promise.resolve() },
    random,
  });
  const stopping = new AbortController();
  void stream.run(stopping.signal);
  const source = createNodeSource({
    gateway: createGateway({ client, clock, waitMs: 900, isWatching: () => stream.isOffered, random }),
    trust,
    store,
    isStoreKept: true,
    stream,
    clock,
    serveStaleMs: 30_000,
    metrics: createNodeMetrics(new Registry(), { size: () => store.size, silenceMs: () => stream.silenceMs() }),
  });
  return { source, store, readEvidence, stop: () => stopping.abort() };
}

interface ClientOptions {
  readonly clock: ManualClock;
  readonly random: () => number;
  readonly replicas: () => readonly Replica[];
}

/** The network between the two: each way takes up to 20 ms, and every call meets some replica. */
function createClient({ clock, random, replicas }: ClientOptions) {
  const some = (): Replica | undefined => replicas()[Math.floor(random() * replicas().length)];
  const travel = (): Promise<void> => sleep(clock, random() * 20, NEVER);
  return {
    hasOther: () => true,
    call: async <M extends MethodName>(
      method: M,
      request: Methods[M]['request'],
      { timeoutMs, signal }: CallOptions,
    ): Promise<CallResult<Methods[M]['response']>> => {
      const replica = some();
      await travel();
      if (replica === undefined || replica.death.signal.aborted) return UNAVAILABLE;
      const context = { signal, remainingMs: timeoutMs, peer: `${NODE}:40000`, token: '', certificate: () => '' };
      const outcome = await replica.handlers[method](request, context);
      await travel();
      if (replica.death.signal.aborted) return UNAVAILABLE;
      return outcome.ok ? { ok: true, response: outcome.value } : { ok: false, ...statusOf(outcome.failure) };
    },
    watchNode: async (
      request: { readonly host_ip: string },
      { onUpdate, signal }: WatchOptions,
    ): Promise<StreamEnd> => {
      const replica = some();
      await travel();
      if (replica === undefined || replica.death.signal.aborted) return BROKEN;
      const broken = AbortSignal.any([replica.death.signal, signal]);
      const aborted = new Promise<StreamEnd>((resolve) => {
        broken.addEventListener('abort', () => resolve(BROKEN));
        if (broken.aborted) resolve(BROKEN);
      });
      const delayMs = random() * 20;
      const handled = replica.watchNode(request, {
        signal: broken,
        peer: `${NODE}:40000`,
        token: '',
        certificate: () => '',
        giveWay: () => {},
        send: (update) => {
          // All take the same time, so that none overtakes another.
          clock.after(delayMs, () => {
            if (!broken.aborted) onUpdate(update, () => Promise.resolve({ ok: true, response: {} }));
          });
          return !broken.aborted;
        },
        drained: () => Promise.resolve(),
      });
      const ended = handled.then(async (): Promise<StreamEnd> => {
        await sleep(clock, delayMs + 1, NEVER);
        return { code: status.OK, details: '', moved: false };
      });
      return Promise.race([ended, aborted]);
    },
  };
}

const UNAVAILABLE = {
  ok: false,
  code: status.UNAVAILABLE,
  details: 'no connection',
  metadata: new Metadata(),
} as const;
const BROKEN: StreamEnd = { code: status.UNAVAILABLE, details: 'the connection broke', moved: false };
