import { LRUCache } from 'lru-cache';

import type { AddressCheck, AddressTie, Holder } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerKey } from '#telemetry/once.ts';

import type { Client, Evidence } from '../ports.ts';

/** Which pod an address was confirmed to be, and by which evidence the kernel holds it to that. */
interface Binding {
  /** Undefined when servers disagreed about it: the evidence of back then is still a reason to doubt. */
  readonly uid: string | undefined;
  readonly evidence: Evidence;
  /** Whether the API server said so, and not only the watch: then the kernel holds it from there on. */
  readonly isConfirmed: boolean;
  /** A moment at which the address was the pod's, in monotonic milliseconds. */
  readonly confirmedMs: number;
}

/** What has to be asked of a server before a client is answered, and what its answer is measured by. */
export interface PendingCheck {
  /** How the server makes sure of the client's address: the table is at the type. */
  readonly check: AddressCheck;
  /** The pod that the address is held to already; undefined when the server's answer decides. */
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
 * Two witnesses say who has an address: the API server, asked once, and from then on the kernel, which takes a pod's interface
 * away with the pod. Evidence that is unchanged holds the binding, whatever the watch is doing; changed evidence ends it. Where
 * the kernel shows nothing, the API server is asked for every connection: it belongs to the pod that had the address at any
 * later moment, for it does not outlive that pod. It is asked again from time to time while the connection is in use.
 */
export class Trust {
  readonly #options: TrustOptions;
  readonly #bindings = new LRUCache<string, Binding>({ max: MOST_BINDINGS });
  readonly #isNew = oncePerKey({ most: MOST_WARNINGS });

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /**
   * What ties the client to a pod with this UID: the kernel, or only that it was confirmed recently; undefined when nothing does,
   * and a server has to be asked.
   */
  tiedBy(client: Client, uid: string): AddressTie | undefined {
    const binding = this.#bindings.get(client.address);
    return binding?.uid === uid ? this.#tie(binding, client) : undefined;
  }

  /**
   * Whether the address was this pod's for certain recently, before the client's connection was there or since: that is something
   * to go by where nobody can be asked, for CNI plugins keep a freed address unused for about as long. `toldMs` is the moment of
   * which a server told so, in monotonic milliseconds.
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
    // Kiam's server does not say which pod it means: nothing can be held to it.
    if (uid === '') return true;
    if (pending.uid === undefined) {
      if (this.#isElsewhere(address, uid, evidence)) return false;
      const confirmedMs = pending.askedMs - viewAgeMs;
      return this.#bind(address, { uid, evidence, confirmedMs, isConfirmed: viewAgeMs === 0 });
    }
    if (pending.uid === uid) return true;
    // Another pod, though nothing here shows a change: whatever was known of the address, it is not enough.
    this.#dispute(address, pending.uid);
    return false;
  }

  /**
   * A server says that a pod has gone. What the kernel holds stays: that server may know less than another, and the next
   * pod with the address is told from this one by its evidence.
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

/** Whether there is more reason to doubt a binding than that it was confirmed long ago. */
function isInDoubt({ uid, evidence: before }: Binding, now: Evidence): boolean {
  if (before.kind === 'none' && now.kind === 'none') return false;
  return uid === undefined || !isUnchanged(before, now);
}

function isUnchanged(before: Evidence, now: Evidence): boolean {
  return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;
}
