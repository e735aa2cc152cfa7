import { canonicalAddress } from '#domain/address.ts';
import { type MetadataCredentials, SHORTEST_SERVED_LIFE_MS } from '#domain/credentials.ts';
import {
  credentialsOf,
  type IssuedCredentials,
  type NodeUpdate,
  type PodBinding,
  type TokenAuthority,
} from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';

/** A pod of this node, as the server said it is. */
export interface StoredPod {
  readonly uid: string;
  readonly addresses: readonly string[];
  /** As annotated; `''` for a pod without a role. */
  readonly role: string;
  /** `''` when the pod may not have its role. */
  readonly roleArn: string;
  /** Which of the credentials are the pod's, once there are some; `''` for none. */
  readonly identity: string;
  /** `''` where the server does not say it, as with what follows. */
  readonly namespace: string;
  /** It shares the network of its node: it has no address of its own, and only its token says that it asks. */
  readonly hostNetwork: boolean;
  readonly name: string;
  readonly serviceAccount: string;
  readonly nodeName: string;
  /** As STS has it. */
  readonly sessionName: string;
  /** `''` where the server does not know it. */
  readonly serviceAccountUid: string;
}

export interface StoredCredentials {
  /** The same object as long as the credentials are the same. */
  readonly value: MetadataCredentials;
  /** In milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** The same moment in monotonic milliseconds, by the clocks as they were when the credentials came. */
  readonly deadAtMs: number;
}

/** By both clocks: the wall clock may be set to anything, and the monotonic one does not see the machine asleep. */
export function livesLongEnough(
  { expiresAtMs, deadAtMs }: Pick<StoredCredentials, 'expiresAtMs' | 'deadAtMs'>,
  clock: Pick<Clock, 'now' | 'monotonic'>,
): boolean {
  return Math.min(expiresAtMs - clock.now(), deadAtMs - clock.monotonic()) >= SHORTEST_SERVED_LIFE_MS;
}

/** Whether a role is the pod's own, in any of the ways in which the pod may spell it; with any other the server decides. */
export function isRoleOf(pod: StoredPod, role: string): boolean {
  return pod.role !== '' && (role === pod.role || `/${role}` === pod.role || role === pod.roleArn);
}

/**
 * What servers have sent about this node's pods, in memory only, by address. Whether an answer may be given from it is decided
 * elsewhere. A stream begins with the complete set, which replaces the earlier stream's once all of it has arrived. Credentials
 * outlive their stream: they stay as long as a pod has their identity and no others arrive for it, even when the present server
 * has none yet.
 */
export class NodeStore {
  readonly #pods = new Map<string, StoredPod & { readonly stream: number }>();
  readonly #claimants = new Map<string, Set<string>>();
  readonly #credentials = new Map<string, StoredCredentials>();
  /** How many pods have an identity; its credentials leave with the last. */
  readonly #holders = new Map<string, number>();
  readonly #onGone: (uid: string) => void;
  #stream = 0;
  #maxViewAgeMs = 30_000;
  #isWhole = false;
  #asOfMs = Number.NEGATIVE_INFINITY;
  #tokenAuthority: TokenAuthority | undefined;
  /** The identity of credentials that no pod has yet: the next update brings their pod, or they are dropped. */
  #unclaimed: string | undefined;

  /** `onGone` is called for each pod that is removed. */
  constructor(onGone: (uid: string) => void = () => {}) {
    this.#onGone = onGone;
  }

  /** How long the server lets a confirmation count that the kernel does not hold. */
  get maxViewAgeMs(): number {
    return this.#maxViewAgeMs;
  }

  /**
   * The latest moment at which everything held was certainly true, in monotonic milliseconds; minus infinity when there is
   * none.
   */
  get asOfMs(): number {
    return this.#asOfMs;
  }

  /** How many pods are held. */
  get size(): number {
    return this.#pods.size;
  }

  /** The pod that has an address in canonical form; undefined when none has it, or more than one. */
  find(address: string): StoredPod | undefined {
    const claimants = this.#claimants.get(address);
    if (claimants === undefined || claimants.size !== 1) return undefined;
    for (const uid of claimants) return this.#pods.get(uid);
    return undefined;
  }

  /** A pod of this node, whatever its address; undefined when it has gone or was never told. */
  byUid(uid: string): StoredPod | undefined {
    return this.#pods.get(uid);
  }

  /** How to recognise the cluster's tokens, as a server sent it last; kept while there is no stream. */
  get tokenAuthority(): TokenAuthority | undefined {
    return this.#tokenAuthority;
  }

  credentialsOf({ identity }: StoredPod): StoredCredentials | undefined {
    return this.#credentials.get(identity);
  }

  /** A new stream has begun: everything will be sent again. */
  begin(): void {
    this.#stream += 1;
    this.#isWhole = false;
  }

  apply(update: NodeUpdate, clock: Pick<Clock, 'now' | 'monotonic'>): void {
    if (update.pod !== undefined) this.#put(update.pod);
    else if (update.gone !== undefined) this.#remove(update.gone.uid);
    else if (update.credentials !== undefined) this.#issue(update.credentials, clock);
    else if (update.token_authority !== undefined) this.#tokenAuthority = update.token_authority;
    else if (update.synced !== undefined) this.#synced(update.synced.max_view_age_ms);
    if (update.heartbeat === undefined && update.token_authority === undefined)
      this.#dropUnclaimed(update.credentials?.identity);
    // Until the new stream is complete the store holds the word of two servers, of which one may know less.
    if (!this.#isWhole) this.#asOfMs = Number.NEGATIVE_INFINITY;
    else if (update.heartbeat !== undefined && update.heartbeat.view_age_ms > 0)
      this.#asOfMs = clock.monotonic() - update.heartbeat.view_age_ms;
  }

  /**
   * No server streams any more, so no pod is known. Live credentials are kept for the next stream, which may come from another
   * replica.
   */
  clear(clock: Pick<Clock, 'now' | 'monotonic'>): void {
    this.#unclaimed = undefined;
    this.#asOfMs = Number.NEGATIVE_INFINITY;
    const uids = [...this.#pods.keys()];
    for (const map of [this.#pods, this.#claimants, this.#holders]) map.clear();
    for (const [identity, { expiresAtMs, deadAtMs }] of this.#credentials) {
      if (clock.now() >= expiresAtMs || clock.monotonic() >= deadAtMs) this.#credentials.delete(identity);
    }
    for (const uid of uids) this.#onGone(uid);
  }

  #put(binding: PodBinding): void {
    const { uid, addresses, role, role_arn, namespace, name, service_account, node_name, session_name } = binding;
    const previous = this.#pods.get(uid);
    const identity = identityOf(binding, previous);
    const hostNetwork = binding.host_network === true;
    const pod = {
      uid,
      role,
      identity,
      namespace,
      name,
      serviceAccount: service_account,
      nodeName: node_name,
      sessionName: session_name,
      serviceAccountUid: binding.service_account_uid,
      roleArn: role_arn,
      hostNetwork,
      // Such a pod is never found by an address, whatever addresses a server sends.
      addresses: (hostNetwork ? [] : addresses).map(canonicalAddress).filter((address) => address !== undefined),
      stream: this.#stream,
    };
    this.#pods.set(uid, pod);
    if (identity !== '') this.#holders.set(identity, (this.#holders.get(identity) ?? 0) + 1);
    if (previous !== undefined) this.#unlink(previous);
    for (const address of pod.addresses) {
      this.#claimants.set(address, (this.#claimants.get(address) ?? new Set()).add(uid));
    }
  }

  #remove(uid: string): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    this.#unlink(pod);
    this.#onGone(uid);
  }

  #unlink({ uid, addresses, identity }: StoredPod): void {
    const current = this.#pods.get(uid);
    for (const address of addresses) {
      if (current?.addresses.includes(address) === true) continue;
      const claimants = this.#claimants.get(address);
      claimants?.delete(uid);
      if (claimants?.size === 0) this.#claimants.delete(address);
    }
    if (identity === '') return;
    const left = (this.#holders.get(identity) ?? 1) - 1;
    if (left > 0) this.#holders.set(identity, left);
    else {
      this.#holders.delete(identity);
      this.#credentials.delete(identity);
    }
  }

  #issue({ identity, credentials, expires_at_ms }: IssuedCredentials, clock: Pick<Clock, 'now' | 'monotonic'>): void {
    this.#credentials.set(identity, {
      value: credentialsOf(credentials),
      expiresAtMs: expires_at_ms,
      deadAtMs: clock.monotonic() + expires_at_ms - clock.now(),
    });
  }

  #dropUnclaimed(next: string | undefined): void {
    const before = this.#unclaimed;
    this.#unclaimed = next;
    if (before !== undefined && before !== next && !this.#holders.has(before)) this.#credentials.delete(before);
  }

  /** The new stream is complete: pods that it did not send are gone. */
  #synced(maxViewAgeMs: number): void {
    this.#maxViewAgeMs = maxViewAgeMs;
    this.#isWhole = true;
    for (const [uid, { stream }] of this.#pods) if (stream !== this.#stream) this.#remove(uid);
    for (const identity of this.#credentials.keys()) {
      if (!this.#holders.has(identity)) this.#credentials.delete(identity);
    }
  }
}

/**
 * Servers of version 0.1.0 send a role's ARN without an identity for a pod whose credentials they do not have yet: the pod
 * keeps those that it has as long as the ARN is the same.
 */
function identityOf({ identity, role_arn }: PodBinding, previous: StoredPod | undefined): string {
  return identity === '' && role_arn !== '' && previous?.roleArn === role_arn ? previous.identity : identity;
}
