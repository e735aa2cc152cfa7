import type { Credentials, CredentialOutcome } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { Asker } from '#domain/node.ts';
import type { NodeCondition, NodeRecord } from '#domain/node-readiness.ts';
import type { PodRecord, PodLookup, PodReading } from '#domain/pod.ts';

/**
 * `previous` is undefined for a new pod, `current` for one that is gone. Only changes of what a {@link PodRecord} holds count.
 */
export interface PodChange {
  readonly previous: PodRecord | undefined;
  readonly current: PodRecord | undefined;
}

export interface NamespaceChange {
  readonly previous: NamespaceRecord | undefined;
  readonly current: NamespaceRecord | undefined;
}

/** The pods of the cluster as the API server last told them. Every method answers from memory. */
export interface PodView {
  /** The live pod that owns an address in canonical form; `ambiguous` when more than one claims it. */
  find(address: string, asker?: Asker): PodLookup;
  /** As `find`, but waits for a pod to appear, woken by the watch, until `signal` aborts. */
  waitFor(address: string, signal: AbortSignal, asker?: Asker): Promise<PodLookup>;
  byUid(uid: string): PodRecord | undefined;
  /** Every pod known, also those that own no address. */
  pods(): Iterable<PodRecord>;
  /** Calls `listener` after the cache holds the change. The returned function ends it. */
  subscribe(listener: (change: PodChange) => void): () => void;
}

export interface NamespaceView {
  get(name: string): NamespaceRecord | undefined;
  subscribe(listener: (change: NamespaceChange) => void): () => void;
}

/** By which keys the tokens of the cluster's pods are verified. */
export interface TokenKeysView {
  /** Undefined until they are known. */
  readonly current: { readonly issuer: string; readonly jwks: string } | undefined;
  /** Calls `listener` after a change. The returned function ends it. */
  subscribe(listener: () => void): () => void;
}

/** How badly the credentials are wanted: a pod that waits goes before one that may ask, and that before a refresh. */
export type Urgency = 'request' | 'prefetch';

/** An identity that a live pod has. */
export interface LiveIdentity {
  readonly identity: Identity;
  /** Whether it is this replica's to renew before anybody asks; if not, what was asked for is kept. */
  readonly isRenewed: boolean;
}

export interface CredentialCache {
  /**
   * The identity's credentials, from memory or from STS. `signal` ends the caller's waiting alone: the call to STS continues
   * for everybody else and its result is kept. Never rejects.
   */
  get(identity: Identity, urgency: Urgency, signal: AbortSignal): Promise<CredentialOutcome>;
  /** What `get` would answer from memory. Asks nobody. */
  peek(identity: Identity): Credentials | undefined;
  /** Calls `listener` with each identity whose credentials are new. The returned function ends it. */
  subscribe(listener: (identity: Identity) => void): () => void;
  /** Says which identities have a live pod, and which of them are renewed here: the others are no longer refreshed. */
  retain(identities: Iterable<LiveIdentity>): void;
  /** Forgets remembered failures of an identity, because something that led to them may have changed. */
  forgive(identity: Identity): void;
}

/** Tells people about a pod where they look first: an Event on the pod. Never blocks and never throws. */
export interface PodWarnings {
  warning(pod: PodRecord, reason: 'KiamRoleForbidden' | 'KiamCredentialError', message: string): void;
}

export interface PodReader {
  /** A read that no cache answers. Never rejects. */
  readPod(namespace: string, name: string, signal: AbortSignal): Promise<PodReading>;
  /**
   * How old the watch's view of the pods may be at most, in milliseconds. Not the silence of the watch: one that is late
   * delivers what was so some time ago, without a pause.
   */
  viewAgeMs(): number;
}

/** `conflict`: the Node has changed since it was read, or is gone; nothing was written. */
export type NodeWrite = 'done' | 'conflict' | 'failed';

/** The Nodes of the cluster, and the two things about them that may be written. */
export interface ClusterNodes {
  all(): Iterable<NodeRecord>;
  get(name: string): NodeRecord | undefined;
  /** Calls `listener` after a change. The returned function ends it. */
  subscribe(listener: () => void): () => void;
  /** Whether all Nodes are known. */
  readonly isSynced: boolean;
  /** Writes the condition to a Node that is still as in `node`. Never rejects. */
  setCondition(node: NodeRecord, condition: NodeCondition): Promise<NodeWrite>;
  /** Takes the start-up taint off. Never rejects. */
  removeTaint(node: NodeRecord): Promise<NodeWrite>;
}
