import { LRUCache } from 'lru-cache';

import type { Confirm } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';

import type { Client, Evidence } from '../ports.ts';

/** Which pod an address was confirmed to be, and by which evidence the kernel holds it to that. */
interface Binding {
  readonly uid: string;
  readonly evidence: Evidence;
  /** When the API server was last asked about it, in monotonic milliseconds. */
  readonly confirmedMs: number;
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
  holds({ address, evidence }: Client, uid: string): 'witnessed' | 'recent' | undefined {
    const binding = this.#bindings.get(address);
    if (binding === undefined || binding.uid !== uid) return undefined;
    if (isUnchanged(binding.evidence, evidence)) return 'witnessed';
    if (binding.evidence.kind !== 'none' || evidence.kind !== 'none') return undefined;
    return this.#isRecent(binding) ? 'recent' : undefined;
  }

  /** How sure the server has to be about the client's address, before its answer may be given. */
  needs({ address, evidence }: Client): Confirm {
    const binding = this.#bindings.get(address);
    if (binding === undefined) return 'anew';
    if (isUnchanged(binding.evidence, evidence)) return 'once';
    if (evidence.kind === 'none' && binding.evidence.kind === 'none') return this.#isRecent(binding) ? 'once' : 'anew';
    return 'certain';
  }

  /**
   * Takes a server's word for who the client is, asked with `confirm`. False when the address may have changed hands since the
   * connection was accepted: then what the server said is not for this client.
   */
  establish(client: Client, uid: string, confirm: Confirm): boolean {
    const { clock, readEvidence } = this.#options;
    const { address, evidence } = client;
    if (evidence.kind === 'interface' && !isUnchanged(evidence, readEvidence(address))) {
      this.#bindings.delete(address);
      return false;
    }
    // Kiam's server does not say which pod it means: nothing can be held to it.
    if (uid === '') return true;
    const previous = this.#bindings.get(address);
    if (confirm !== 'once') this.#bindings.set(address, { uid, evidence, confirmedMs: clock.monotonic() });
    else if (previous !== undefined && previous.uid !== uid) {
      // Another pod, though the kernel shows no change: whatever was known of the address, it is not enough.
      this.#bindings.delete(address);
      return false;
    }
    return true;
  }

  /** A pod has gone: what was known of its addresses is of no more use. */
  forget(uid: string): void {
    for (const [address, binding] of this.#bindings.entries()) if (binding.uid === uid) this.#bindings.delete(address);
  }

  #isRecent({ confirmedMs }: Binding): boolean {
    return this.#options.clock.monotonic() - confirmedMs < UNWITNESSED_MS;
  }
}

function isUnchanged(before: Evidence, now: Evidence): boolean {
  return before.kind === 'interface' && now.kind === 'interface' && before.key === now.key;
}
