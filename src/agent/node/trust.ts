import { LRUCache } from 'lru-cache';

import type { AddressCheck, AddressTie, Holder } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerKey } from '#telemetry/once.ts';

import type { Client, Evidence } from '../ports.ts';

/** The pod that an address was confirmed to belong to, and the kernel's evidence at that moment. */
interface Binding {
  /** Undefined when servers disagreed about it: different evidence is still a reason for doubt. */
  readonly uid: string | undefined;
  readonly evidence: Evidence;
  /** Whether the API server confirmed it, and not only the watch: from then on unchanged evidence is enough. */
  readonly isConfirmed: boolean;
  /** A moment at which the address was the pod's, in monotonic milliseconds. */
  readonly confirmedMs: number;
}

/** What a server has to check before a client is answered, and what its answer must agree with. */
export interface PendingCheck {
  /** How the server makes sure of the client's address: the table is at the type. */
  readonly check: AddressCheck;
  /** The pod that the address is bound to already; undefined when the server's answer decides. */
  readonly uid: string | undefined;
  readonly askedMs: number;
}

export interface TrustOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** `--max-view-age` of the server: how long a confirmation counts that the kernel does not hold, in milliseconds. */
  readonly maxAgeMs: () => number;
  /** What the kernel shows of an address now. */
  readonly readEvidence: (address: string) => Evidence;
  /** Whether an address that had this evidence is seen elsewhere now, though the interface of back then is still there. */
  readonly isElsewhere: (before: string, now: Evidence) => boolean;
}

/** More than the pods of the largest node. What is forgotten is confirmed again. */
const MOST_BINDINGS = 4096;

/** How many addresses are warned about, each once. */
const MOST_WARNINGS = 1000;

/**
 * Two sources say who has an address: the API server, asked once, and from then on the kernel, which removes a pod's interface
 * with the pod. Unchanged evidence keeps the binding, whatever the state of the watch; changed evidence ends it. Where the
 * kernel shows nothing, the API server is asked for every connection: the connection belongs to the pod that has the address at
 * any later moment, because it does not outlive that pod. It is asked again from time to time while the connection is in use.
 */
export class Trust {
  readonly #options: TrustOptions;
  readonly #bindings = new LRUCache<string, Binding>({ max: MOST_BINDINGS });
  readonly #isNew = oncePerKey({ most: MOST_WARNINGS });

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /**
   * What ties the client to the pod with this UID: the kernel's evidence, or only a recent confirmation; undefined when neither
   * does and a server has to be asked.
   */
  tiedBy(client: Client, uid: string): AddressTie | undefined {
    const binding = this.#bindings.get(client.address);
    return binding?.uid === uid ? this.#tie(binding, client) : undefined;
  }

  /**
   * Whether the address was certainly this pod's a short time ago, before or after the client connected. That is enough where
   * no server can answer, because CNI plugins keep a freed address unused for about as long. `toldMs` is the moment for which a
   * server confirmed it, in monotonic milliseconds.
   */
  answersWhenUnreachable({ address, evidence }: Client, uid: string, toldMs: number): boolean {
    const binding = this.#bindings.get(address);
    // What the kernel shows says nothing without what it showed when the address was confirmed.
    if (binding === undefined) return evidence.kind === 'none' && this.#isRecent(toldMs);
    const confirmedMs = Math.max(binding.confirmedMs, toldMs);
    return binding.uid === uid && !isInDoubt(binding, evidence) && this.#isRecent(confirmedMs);
  }

  /** What has to be asked before the client is answered. */
  prepareCheck(client: Client): PendingCheck {
    const askedMs = this.#options.clock.monotonic();
    const binding = this.#bindings.get(client.address);
    if (binding === undefined) return { check: 'read', uid: undefined, askedMs };
    const tie = this.#tie(binding, client);
    if (tie !== undefined) return { check: tie, uid: binding.uid, askedMs };
    return { check: isInDoubt(binding, client.evidence) ? 'read-or-refuse' : 'read', uid: undefined, askedMs };
  }

  /**
   * Records what a server said about who the client is. False when the address may have changed hands since the connection was
   * accepted, or when the answer contradicts what is known: then the answer is not for this client.
   */
  acceptAnswer(client: Client, { uid, viewAgeMs }: Pick<Holder, 'uid' | 'viewAgeMs'>, pending: PendingCheck): boolean {
    const { address, evidence } = client;
    if (evidence.kind === 'interface' && !isUnchanged(evidence, this.#options.readEvidence(address))) return false;
    // Kiam's server does not say which pod it means, so nothing can be bound.
    if (uid === '') return true;
    if (pending.uid === undefined) {
      if (this.#isElsewhere(address, uid, evidence)) return false;
      const confirmedMs = pending.askedMs - viewAgeMs;
      return this.#bind(address, { uid, evidence, confirmedMs, isConfirmed: viewAgeMs === 0 });
    }
    if (pending.uid === uid) return true;
    // The answer names another pod although the evidence has not changed: what was known about the address is not reliable.
    this.#dispute(address, pending.uid);
    return false;
  }

  /**
   * A server says that a pod has gone. Bindings by the kernel's evidence stay: that server may know less than another, and the
   * next pod with the address has other evidence.
   */
  forget(uid: string): void {
    for (const [address, binding] of this.#bindings.entries()) {
      if (binding.uid === uid && binding.evidence.kind === 'none') this.#bindings.delete(address);
    }
  }

  /** Answers come in any order: an earlier moment never takes the place of a later one. */
  #bind(address: string, binding: Binding): boolean {
    const present = this.#bindings.get(address);
    if (present !== undefined && present.confirmedMs > binding.confirmedMs) return present.uid === binding.uid;
    this.#bindings.set(address, binding);
    return true;
  }

  /**
   * A pod has one interface at a time. While that lives, whoever speaks with the pod's address from behind another is not the
   * pod, whatever the API server says of the address.
   */
  #isElsewhere(address: string, uid: string, now: Evidence): boolean {
    const binding = this.#bindings.get(address);
    if (binding?.uid !== uid || binding.evidence.kind === 'none') return false;
    if (!this.#options.isElsewhere(binding.evidence.key, now)) return false;
    if (this.#isNew(address)) {
      this.#options.logger.warn(
        'a connection with the address of a pod does not come from its interface, which is still there: refused',
        { 'pod.ip': address },
      );
    }
    return true;
  }

  #dispute(address: string, uid: string): void {
    const binding = this.#bindings.get(address);
    if (binding?.uid !== uid) return;
    if (binding.evidence.kind === 'none') this.#bindings.delete(address);
    else this.#bindings.set(address, { ...binding, uid: undefined });
  }

  #tie(binding: Binding, { evidence, acceptedMs }: Client): AddressTie | undefined {
    if (isInDoubt(binding, evidence)) return undefined;
    const isHeld = isUnchanged(binding.evidence, evidence);
    if (isHeld && binding.isConfirmed) return 'kernel-bound';
    return (isHeld || binding.confirmedMs >= acceptedMs) && this.#isRecent(binding.confirmedMs)
      ? 'read-unless-recent'
      : undefined;
  }

  #isRecent(confirmedMs: number): boolean {
    return this.#options.clock.monotonic() - confirmedMs < this.#options.maxAgeMs();
  }
}

/** Whether there is a reason to doubt a binding other than its age. */
function isInDoubt({ uid, evidence: before }: Binding, now: Evidence): boolean {
  if (before.kind === 'none' && now.kind === 'none') return false;
  return uid === undefined || !isUnchanged(before, now);
}

function isUnchanged(before: Evidence, now: Evidence): boolean {
  return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;
}
