import { type NodeId, nodeKey, nodeKeysOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';

import type { FeedInspection } from './node-feed.ts';

/** What can be looked at of a feed. */
export interface InspectableFeed {
  inspect(uid: string): FeedInspection;
}

/** The streams that agents have open to this server, by their node. A node has two while its agent changes over. */
export class NodeFeeds {
  readonly #byNode = new Map<string, { readonly node: NodeId; readonly feeds: Set<InspectableFeed> }>();
  readonly #listeners = new Set<(node: NodeId) => void>();

  /** The returned function takes the feed away, at its end. */
  add(node: NodeId, feed: InspectableFeed): () => void {
    const key = nodeKey(node);
    const feeds = this.#byNode.get(key)?.feeds ?? new Set();
    this.#byNode.set(key, { node, feeds: feeds.add(feed) });
    if (feeds.size === 1) this.#changed(node);
    return () => {
      feeds.delete(feed);
      if (feeds.size > 0 || this.#byNode.get(key)?.feeds !== feeds) return;
      this.#byNode.delete(key);
      this.#changed(node);
    };
  }

  /** Calls `listener` with a node that has its first stream here, or has no more. The returned function ends it. */
  subscribe(listener: (node: NodeId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether the agent of a pod's node has a stream here. */
  has(pod: Pick<PodRecord, 'nodeName' | 'hostIps'>): boolean {
    return nodeKeysOf(pod).some((key) => this.#byNode.has(key));
  }

  /** Those of the node that a pod is on. */
  ofPod(pod: Pick<PodRecord, 'nodeName' | 'hostIps'>): readonly InspectableFeed[] {
    return this.ofKeys(nodeKeysOf(pod));
  }

  /** Those of the node that has these keys. */
  ofKeys(keys: readonly string[]): readonly InspectableFeed[] {
    return [...new Set(keys.flatMap((key) => [...(this.#byNode.get(key)?.feeds ?? [])]))];
  }

  /** The nodes that have a stream here. */
  nodes(): readonly NodeId[] {
    return Array.from(this.#byNode.values(), ({ node }) => node);
  }

  /** How many streams are open. */
  get count(): number {
    let count = 0;
    for (const { feeds } of this.#byNode.values()) count += feeds.size;
    return count;
  }

  #changed(node: NodeId): void {
    for (const listener of this.#listeners) listener(node);
  }
}
