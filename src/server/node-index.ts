import { isOnNode, type NodeId, nodeKey, nodeKeysOf } from '#domain/node.ts';
import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';

import type { PodView } from './ports.ts';

type Listener = (uid: string) => void;

interface Subscription {
  readonly node: NodeId;
  readonly listener: Listener;
}

/**
 * Which pods are on which node, and the listeners for changes there. A change also concerns the pods of the same node that
 * claim the same address, since of two claimants neither may be served.
 */
export class NodeIndex {
  readonly #pods: Pick<PodView, 'find' | 'pods' | 'subscribe'>;
  readonly #byNode = new Map<string, Set<string>>();
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #unsubscribe: () => void;

  constructor(pods: Pick<PodView, 'find' | 'pods' | 'subscribe'>) {
    this.#pods = pods;
    for (const pod of pods.pods()) this.#place(undefined, pod);
    this.#unsubscribe = pods.subscribe(({ previous, current }) => this.#change(previous, current));
  }

  /** The UIDs of the pods on a node. */
  podsOn(node: NodeId): ReadonlySet<string> {
    return this.#byNode.get(nodeKey(node)) ?? new Set();
  }

  /** Whether any pod is known to be on a node with this address. */
  isNode(address: string): boolean {
    return this.#byNode.has(nodeKey({ by: 'address', address }));
  }

  /** Calls `listener` with the UID of each pod of the node that may have changed. The returned function ends it. */
  subscribe(node: NodeId, listener: Listener): () => void {
    const key = nodeKey(node);
    const subscriptions = this.#subscriptions.get(key) ?? new Set();
    const subscription = { node, listener };
    this.#subscriptions.set(key, subscriptions.add(subscription));
    return () => {
      subscriptions.delete(subscription);
      if (subscriptions.size === 0 && this.#subscriptions.get(key) === subscriptions) this.#subscriptions.delete(key);
    };
  }

  close(): void {
    this.#unsubscribe();
  }

  #change(previous: PodRecord | undefined, current: PodRecord | undefined): void {
    this.#place(previous, current);
    if (this.#subscriptions.size === 0) return;
    const keys = new Set([previous, current].flatMap((pod) => (pod === undefined ? [] : nodeKeysOf(pod))));
    const uid = (current ?? previous)?.uid ?? '';
    for (const { node, listener } of [...keys].flatMap((key) => [...(this.#subscriptions.get(key) ?? [])])) {
      listener(uid);
      for (const other of this.#claimants(node, addressesOf(previous, current))) if (other !== uid) listener(other);
    }
  }

  /** The UIDs of a node's pods that claim one of the addresses. */
  #claimants(node: NodeId, addresses: ReadonlySet<string>): ReadonlySet<string> {
    const uids = new Set<string>();
    for (const address of addresses) {
      const lookup = this.#pods.find(address);
      const claimants = lookup.kind === 'ambiguous' ? lookup.pods : lookup.kind === 'found' ? [lookup.pod] : [];
      for (const pod of claimants) if (isOnNode(pod, node)) uids.add(pod.uid);
    }
    return uids;
  }

  #place(previous: PodRecord | undefined, current: PodRecord | undefined): void {
    const before = previous === undefined ? [] : nodeKeysOf(previous);
    const now = current === undefined ? [] : nodeKeysOf(current);
    for (const key of before) if (previous !== undefined && !now.includes(key)) this.#remove(key, previous.uid);
    for (const key of now) if (current !== undefined && !before.includes(key)) this.#add(key, current.uid);
  }

  #add(key: string, uid: string): void {
    const pods = this.#byNode.get(key) ?? new Set();
    this.#byNode.set(key, pods.add(uid));
  }

  #remove(key: string, uid: string): void {
    const pods = this.#byNode.get(key);
    pods?.delete(uid);
    if (pods?.size === 0) this.#byNode.delete(key);
  }
}

function addressesOf(...pods: readonly (PodRecord | undefined)[]): Set<string> {
  return new Set(pods.flatMap((pod) => (pod !== undefined && ownsItsAddress(pod) ? pod.addresses : [])));
}
