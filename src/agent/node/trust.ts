import { LRUCache } from 'lru-cache';

import type { Confirm, Holder } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';

import type { Client, Evidence } from '../ports.ts';

/** Which pod an address was confirmed to be, and by which evidence the kernel holds it to that. */
interface Binding {
  readonly uid: string;
  readonly evidence: Evidence;
  /** A moment at which the address was the pod's, in monotonic milliseconds. */
  readonly confirmedMs: number;
}

/** What has to be asked of a server before a client is answered, and what its answer is measured by. */
export interface Doubt {
  /** How sure the server has to be about the client's address. */
  readonly confirm: Confirm;
  /** The pod that the address is held to already; undefined when the server's answer decides. */
  readonly uid: string | undefined;
  readonly askedMs: number;
}

export interface TrustOptions {
  readonly clock: Clock;
  /** What the kernel shows of an address now. */
  readonly readEvidence: (address: string) => Evidence;
}

/** Without evidence a binding is confirmed anew this often: CNI plugins keep a freed address unused for about as long. */
const UNWITNESSED_MS = 30_000;

/** More than the pods of the largest node. What is forgotten is confirmed anew. */
const MOST_BINDINGS = 4096;

/**
 * Two witnesses say who has an address: the API server, asked once, and from then on the kernel, which takes a pod's interface
 * away with the pod. Evidence that is unchanged holds the binding, whatever the watch is doing; changed evidence ends it. Where
 * the kernel shows nothing, the API server is asked again from time to time.
 */
export class Trust {
  readonly #options: TrustOptions;
  readonly #bindings = new LRUCache<string, Binding>({ max: MOST_BINDINGS });

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /**
   * What holds the client to a pod with this UID: the kernel, or only that it was confirmed lately; undefined when nothing
   * does, and a server has to be asked.
   */
  holds(client: Client, uid: string): 'witnessed' | 'recent' | undefined {
    const binding = this.#bindings.get(client.address);
    return binding?.uid === uid ? this.#witness(binding, client.evidence) : undefined;
  }

  /** What has to be asked before the client is answered. */
  doubt({ address, evidence }: Client): Doubt {
    const askedMs = this.#options.clock.monotonic();
    const binding = this.#bindings.get(address);
    if (binding === undefined) return { confirm: 'anew', uid: undefined, askedMs };
    const witness = this.#witness(binding, evidence);
    if (witness !== undefined) return { confirm: witness === 'witnessed' ? 'held' : 'once', uid: binding.uid, askedMs };
    const isUnwitnessed = evidence.kind === 'none' && binding.evidence.kind === 'none';
    return { confirm: isUnwitnessed ? 'anew' : 'certain', uid: undefined, askedMs };
  }

  /**
   * Takes a server's word for who the client is. False when the address may have changed hands since the connection was
   * accepted, or when the word is against what is known: then what the server said is not for this client.
   */
  establish(client: Client, { uid, viewAgeMs }: Pick<Holder, 'uid' | 'viewAgeMs'>, doubt: Doubt): boolean {
    const { address, evidence } = client;
    if (evidence.kind === 'interface' && !isUnchanged(evidence, this.#options.readEvidence(address))) {
      this.#endBinding(address, ({ evidence: before }) => isUnchanged(before, evidence));
      return false;
    }
    // Kiam's server does not say which pod it means: nothing can be held to it.
    if (uid === '') return true;
    if (doubt.uid === undefined) return this.#bind(address, { uid, evidence, confirmedMs: doubt.askedMs - viewAgeMs });
    if (doubt.uid === uid) return true;
    // Another pod, though nothing here shows a change: whatever was known of the address, it is not enough.
    this.#endBinding(address, (binding) => binding.uid === doubt.uid);
    return false;
  }

  /** A pod has gone: what was known of its addresses is of no more use. */
  forget(uid: string): void {
    for (const [address, binding] of this.#bindings.entries()) if (binding.uid === uid) this.#bindings.delete(address);
  }

  /** Answers come in any order: an earlier moment never takes the place of a later one. */
  #bind(address: string, binding: Binding): boolean {
    const present = this.#bindings.get(address);
    if (present !== undefined && present.confirmedMs > binding.confirmedMs) return present.uid === binding.uid;
    this.#bindings.set(address, binding);
    return true;
  }

  #endBinding(address: string, isMeant: (binding: Binding) => boolean): void {
    const binding = this.#bindings.get(address);
    if (binding !== undefined && isMeant(binding)) this.#bindings.delete(address);
  }

  #witness({ evidence: before, confirmedMs }: Binding, now: Evidence): 'witnessed' | 'recent' | undefined {
    if (isUnchanged(before, now)) return 'witnessed';
    if (before.kind !== 'none' || now.kind !== 'none') return undefined;
    return this.#options.clock.monotonic() - confirmedMs < UNWITNESSED_MS ? 'recent' : undefined;
  }
}

function isUnchanged(before: Evidence, now: Evidence): boolean {
  return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;
}
