import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';

import type { PodCache } from './ports.ts';

type Listener = (uid: string) => void;

/**
 * Which pods are on which node, and who wants to know of changes there. A change also concerns the pods that claim the same
 * address elsewhere, since of two claimants neither may be served.
 */
export class NodeIndex {
  readonly #pods: Pick<PodCache, 'find' | 'pods' | 'subscribe'>;
  readonly #byNode = new Map<string, Set<string>>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #unsubscribe: () => void;

  constructor(pods: Pick<PodCache, 'find' | 'pods' | 'subscribe'>) {
    this.#pods = pods;
    for (const pod of pods.pods()) this.#place(undefined, pod);
    this.#unsubscribe = pods.subscribe(({ previous, current }) => this.#change(previous, current));
  }

  /** The UIDs of the pods on a node, by the node's address. */
  podsOn(hostIp: string): ReadonlySet<string> {
    return this.#byNode.get(hostIp) ?? new Set();
  }

  /** Whether any pod is known to be on a node with this address. */
  isNode(address: string): boolean {
    return this.#byNode.has(address);
  }

  /** Calls `listener` with the UID of each pod of the node that may have changed. The returned function ends it. */
  subscribe(hostIp: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(hostIp) ?? new Set();
    this.#listeners.set(hostIp, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(hostIp) === listeners) this.#listeners.delete(hostIp);
    };
  }

  close(): void {
    this.#unsubscribe();
  }

  #change(previous: PodRecord | undefined, current: PodRecord | undefined): void {
    this.#place(previous, current);
    for (const pod of [previous, current]) if (pod !== undefined) this.#tell(pod.hostIp, pod.uid);
    if (this.#listeners.size === 0) return;
    for (const address of addressesOf(previous, current)) {
      const lookup = this.#pods.find(address);
      const claimants = lookup.kind === 'ambiguous' ? lookup.pods : lookup.kind === 'found' ? [lookup.pod] : [];
      for (const claimant of claimants) this.#tell(claimant.hostIp, claimant.uid);
    }
  }

  #place(previous: PodRecord | undefined, current: PodRecord | undefined): void {
    if (previous !== undefined && previous.hostIp !== current?.hostIp) {
      const pods = this.#byNode.get(previous.hostIp);
      pods?.delete(previous.uid);
      if (pods?.size === 0) this.#byNode.delete(previous.hostIp);
    }
    if (current === undefined || current.hostIp === '') return;
    const pods = this.#byNode.get(current.hostIp) ?? new Set();
    this.#byNode.set(current.hostIp, pods.add(current.uid));
  }

  #tell(hostIp: string, uid: string): void {
    for (const listener of this.#listeners.get(hostIp) ?? []) listener(uid);
  }
}

function addressesOf(...pods: readonly (PodRecord | undefined)[]): Set<string> {
  return new Set(pods.flatMap((pod) => (pod !== undefined && ownsItsAddress(pod) ? pod.addresses : [])));
}
