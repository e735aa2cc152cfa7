import type { Credentials } from '#domain/credentials.ts';
import type { Failure } from '#domain/failure.ts';
import type { Identity } from '#domain/identity.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';

export type PodLookup =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  | { readonly kind: 'none' }
  | { readonly kind: 'ambiguous'; readonly pods: readonly PodRecord[] };

/** `previous` is undefined for a new pod, `current` for one that is gone. Only changes of what a {@link PodRecord} holds count. */
export interface PodChange {
  readonly previous: PodRecord | undefined;
  readonly current: PodRecord | undefined;
}

export interface NamespaceChange {
  readonly previous: NamespaceRecord | undefined;
  readonly current: NamespaceRecord | undefined;
}

/** Who asks. Where the node is known, only its own pods count. */
export interface Asker {
  readonly node?: NodeId | undefined;
}

/** The pods of the cluster as the API server last told them. Every method answers from memory. */
export interface PodCache {
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

export interface NamespaceCache {
  get(name: string): NamespaceRecord | undefined;
  subscribe(listener: (change: NamespaceChange) => void): () => void;
}

/** How badly the credentials are wanted: a pod that waits goes before one that may ask, and that before a refresh. */
export type Urgency = 'request' | 'prefetch';

export type CredentialOutcome =
  | { readonly ok: true; readonly value: Credentials }
  | {
      readonly ok: false;
      readonly failure: Failure;
      /** What STS said, `<Code>: <message>`, for the Event on the pod. It may name the server's own role: never for the agent. */
      readonly detail?: string;
    };

export interface CredentialCache {
  /**
   * The identity's credentials, from memory or from STS. `signal` ends the caller's waiting alone: the call to STS goes on
   * for everybody else and its result is kept. Never rejects.
   */
  get(identity: Identity, urgency: Urgency, signal: AbortSignal): Promise<CredentialOutcome>;
  /** What `get` would answer from memory. Asks nobody. */
  peek(identity: Identity): Credentials | undefined;
  /** Calls `listener` with each identity whose credentials have come in anew. The returned function ends it. */
  subscribe(listener: (identity: Identity) => void): () => void;
  /** Says which identities have a live pod: the others are no longer refreshed and leave the cache. */
  retain(identities: Iterable<Identity>): void;
  /** Forgets remembered failures of an identity, because something that led to them may have changed. */
  forgive(identity: Identity): void;
}

/** Tells people about a pod where they look first: an Event on the pod. Never blocks and never throws. */
export interface PodEvents {
  warning(pod: PodRecord, reason: 'KiamRoleForbidden' | 'KiamCredentialError', message: string): void;
}

/** What the API server itself says of a pod at this moment. */
export type PodReading =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface PodReader {
  /** A read that no cache answers. Never rejects. */
  readPod(namespace: string, name: string, signal: AbortSignal): Promise<PodReading>;
  /**
   * How old the watch's view of the pods may be at most, in milliseconds. Not the silence of the watch: one that is late
   * delivers what was so some time ago, without a pause.
   */
  viewAgeMs(): number;
}

/** Where a token comes from: whoever sends many that are not valid is not answered for all of them. */
export interface ReviewSource {
  /** In canonical form; `''` when it is not known. */
  readonly address: string;
  /** Whether pods say that a node has the address. */
  readonly isNode: boolean;
  /** The fingerprint of the certificate that the connection was opened with. */
  readonly certificate: () => string;
}

/** What is known of a service account token. */
export type TokenReview =
  /** It was made for the pod with this UID, which has the account `user`; `nodeName` is `''` where the API server does not name the pod's node. */
  | { readonly kind: 'pod'; readonly uid: string; readonly user: string; readonly nodeName: string }
  | { readonly kind: 'refused' }
  /** The API server cannot be asked, or not for this caller now. */
  | { readonly kind: 'unavailable' };
