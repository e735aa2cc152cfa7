import { type NodeId, nodeKey, nodeKeysOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Clock } from '#runtime/clock.ts';

import type { NodeFeeds } from './node-feeds.ts';

export interface PrefetchedNodesOptions {
  readonly feeds: Pick<NodeFeeds, 'has' | 'subscribe'>;
  readonly clock: Clock;
  /** How long a node counts as one without a stream after its agent asked, in milliseconds. */
  readonly rememberMs: number;
}

/** `all` when any node may have changed sides. */
export type NodeListener = (node: NodeId | 'all') => void;

type Placed = Pick<PodRecord, 'nodeName' | 'hostIps'>;

const FORGET_INTERVAL_MS = 60_000;

/**
 * The nodes whose credentials this replica fetches and renews in advance. A node with a stream belongs to the replica that has
 * the stream. Replicas do not talk to each other, so a node without a stream here may have one elsewhere: its agent says so
 * with each question that it asks. An agent that does not say so (Kiam's, or one with `--node-store=false`) has none, and asks
 * every replica in turn: so every replica that it asks prefetches for its node. Where no agent at all has been seen with a
 * stream, the first such question stands for all nodes, as all agents are probably alike.
 */
export class PrefetchedNodes {
  readonly #options: PrefetchedNodesOptions;
  /** When an agent without a stream last asked, by its node. */
  readonly #askedAtMs = new Map<string, { readonly node: NodeId; atMs: number }>();
  readonly #listeners = new Set<NodeListener>();
  readonly #unsubscribe: () => void;
  #cancelForget: () => void;
  /** No agent has had a stream yet, as far as this replica can tell, and one without a stream has asked. */
  #isEveryNode = false;
  #hasSeenStream = false;

  constructor(options: PrefetchedNodesOptions) {
    const { feeds, clock } = options;
    this.#options = options;
    this.#unsubscribe = feeds.subscribe((node) => {
      this.#sawStream();
      // Should the stream end, its agent has not gone back to asking for everything.
      this.#askedAtMs.delete(nodeKey(node));
      this.#changed(node);
    });
    this.#cancelForget = clock.after(FORGET_INTERVAL_MS, () => this.#forget());
  }

  /** Whether what the pod may have is fetched and renewed here before it asks. */
  has(pod: Placed): boolean {
    return this.#isEveryNode || this.#options.feeds.has(pod) || this.#isWithoutStream(pod);
  }

  /** An agent has asked for a pod; `isWatching` is whether it has a stream, to whichever replica. */
  asked(pod: Placed, isWatching: boolean): void {
    const node = nodeOf(pod);
    if (node === undefined) return;
    const key = nodeKey(node);
    if (isWatching) {
      this.#sawStream();
      if (this.#askedAtMs.delete(key)) this.#changed(node);
      return;
    }
    const known = this.#askedAtMs.get(key);
    const atMs = this.#options.clock.monotonic();
    if (known !== undefined) {
      known.atMs = atMs;
      return;
    }
    this.#askedAtMs.set(key, { node, atMs });
    if (this.#hasSeenStream || this.#isEveryNode) this.#changed(node);
    else {
      this.#isEveryNode = true;
      this.#changed('all');
    }
  }

  /** The returned function ends it. */
  subscribe(listener: NodeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#cancelForget();
    this.#unsubscribe();
  }

  #isWithoutStream(pod: Placed): boolean {
    return this.#askedAtMs.size > 0 && nodeKeysOf(pod).some((key) => this.#askedAtMs.has(key));
  }

  #sawStream(): void {
    this.#hasSeenStream = true;
    if (!this.#isEveryNode) return;
    this.#isEveryNode = false;
    this.#changed('all');
  }

  #forget(): void {
    const { clock, rememberMs } = this.#options;
    this.#cancelForget = clock.after(FORGET_INTERVAL_MS, () => this.#forget());
    for (const [key, { node, atMs }] of this.#askedAtMs) {
      if (clock.monotonic() - atMs < rememberMs) continue;
      this.#askedAtMs.delete(key);
      this.#changed(node);
    }
  }

  #changed(node: NodeId | 'all'): void {
    for (const listener of this.#listeners) listener(node);
  }
}

/** By name, which nobody can change, once the pod is scheduled. */
function nodeOf({ nodeName, hostIps: [address] }: Placed): NodeId | undefined {
  if (nodeName !== '') return { by: 'name', name: nodeName };
  return address === undefined ? undefined : { by: 'address', address };
}
