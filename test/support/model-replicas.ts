import { StsCredentialCache } from '#aws/credential-cache.ts';
import { plainSessions } from '#domain/attribution.ts';
import { type Identity, identityOf } from '#domain/identity.ts';
import type { NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import { Replicas } from '#rpc/replicas.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeIndex } from '#server/node-index.ts';
import type { PodChange } from '#server/ports.ts';
import { Prefetch } from '#server/prefetch.ts';
import { PrefetchedNodes } from '#server/prefetched-nodes.ts';

import type { ManualClock } from './manual-clock.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const NEVER = new AbortController().signal;

/** A stream moves on before its connection's age of 15 minutes. */
const STREAM_MS = 12 * MINUTE_MS;

/** The pods of a cluster, as every replica sees them. */
export class ModelPods {
  readonly #pods = new Map<string, PodRecord>();
  readonly #listeners = new Set<(change: PodChange) => void>();

  byUid(uid: string): PodRecord | undefined {
    return this.#pods.get(uid);
  }

  pods(): Iterable<PodRecord> {
    return this.#pods.values();
  }

  find(): { readonly kind: 'none' } {
    return { kind: 'none' };
  }

  subscribe(listener: (change: PodChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  put(pod: PodRecord): void {
    this.#pods.set(pod.uid, pod);
    this.#tell({ previous: undefined, current: pod });
  }

  remove(pod: PodRecord): void {
    this.#pods.delete(pod.uid);
    this.#tell({ previous: pod, current: undefined });
  }

  #tell(change: PodChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** What a replica of the server does about credentials, without its processes and connections. */
export interface ModelReplica {
  readonly feeds: NodeFeeds;
  /** An agent asks for the credentials of a pod; `isWatching` is whether it has a stream, to whichever replica. */
  ask(pod: PodRecord, isWatching: boolean): void;
  stop(): void;
}

const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Starts one before an STS that grants an hour; `onCall` is told of each call to it. */
export function startReplica(options: {
  readonly clock: ManualClock;
  readonly random: () => number;
  readonly pods: ModelPods;
  readonly onCall: (identity: Identity) => void;
}): ModelReplica {
  const { clock, random, pods, onCall } = options;
  const assumeRole = (identity: Identity) => {
    onCall(identity);
    const nowMs = clock.now();
    const value = {
      accessKeyId: 'ASIA',
      secretAccessKey: 'SECRET',
      sessionToken: 'TOKEN',
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + HOUR_MS,
    };
    return Promise.resolve({ ok: true, value, grantedMs: HOUR_MS, clockOffsetMs: 0, packedPolicyPercent: 0 } as const);
  };
  const cache = new StsCredentialCache({
    sts: { assumeRole },
    clock,
    logger,
    sessionMs: HOUR_MS,
    sessionRefreshMs: 0,
    defaultSessionName: 'kiam',
    random,
  });
  const feeds = new NodeFeeds();
  const nodes = new PrefetchedNodes({ feeds, clock, rememberMs: HOUR_MS });
  const prefetch = new Prefetch({
    pods,
    namespaces: { subscribe: () => () => {} },
    credentials: cache,
    identify,
    nodes,
    index: new NodeIndex(pods),
    fetchers: 8,
    clock,
    logger,
  });
  const stop = (): void => {
    for (const part of [prefetch, nodes, cache]) part.close();
  };
  const ask = (pod: PodRecord, isWatching: boolean): void => {
    nodes.asked(pod, isWatching);
    void cache.get(identify(pod), 'request', NEVER);
  };
  return { feeds, ask, stop };
}

const SESSIONS = plainSessions('kiam');

function identify(pod: PodRecord): Identity {
  return identityOf(pod, `arn:aws:iam::123456789012:role/${pod.role}`, SESSIONS);
}

/** The agent's part: which replica it has its stream to, and which it asks. */
export class ModelAgent {
  readonly node: string;
  readonly #replicas: Replicas;
  home = '';
  readonly #clock: ManualClock;
  readonly #servers: ReadonlyMap<string, ModelReplica>;
  #server: ModelReplica | undefined;
  #endMs = Number.NEGATIVE_INFINITY;
  #leave: () => void = () => {};

  constructor(
    node: string,
    options: { clock: ManualClock; random: () => number; servers: ReadonlyMap<string, ModelReplica> },
  ) {
    this.node = node;
    this.#clock = options.clock;
    this.#servers = options.servers;
    this.#replicas = new Replicas(options.clock, options.random);
    this.#update();
  }

  /** Asks for the credentials of a pod of the node. */
  ask(pod: PodRecord, isWatching: boolean): void {
    this.#servers.get(this.#replicas.choose(new Set()) ?? '')?.ask(pod, isWatching);
  }

  /** Opens another stream where the present one is over, or its server has gone. */
  follow(): void {
    this.#update();
    const isOver = this.#clock.monotonic() >= this.#endMs || this.#servers.get(this.home) !== this.#server;
    if (!isOver) return;
    this.#leave();
    this.home = this.#replicas.chooseForStream(this.node) ?? '';
    this.#server = this.#servers.get(this.home);
    const node: NodeId = { by: 'name', name: this.node };
    const left = this.#server?.feeds.add(node, { inspect: () => NOTHING });
    const ended = this.#replicas.streamOpened(this.home);
    this.#leave = () => {
      left?.();
      ended(true);
    };
    this.#endMs = this.#clock.monotonic() + STREAM_MS;
  }

  #update(): void {
    const names = [...this.#servers.keys()];
    this.#replicas.update(new Set(names), names);
  }
}

const NOTHING = {
  peer: '',
  openForMs: 0,
  isSynced: true,
  isBehind: false,
  isChanging: false,
  identityKey: undefined,
  hasCredentials: false,
};
