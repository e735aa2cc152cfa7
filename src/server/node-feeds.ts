import type { FeedInspection } from './node-feed.ts';

/** What can be looked at of a feed. */
export interface InspectableFeed {
  inspect(uid: string): FeedInspection;
}

/** The streams that agents have open to this server, by their node's address. A node has two while its agent changes over. */
export class NodeFeeds {
  readonly #byNode = new Map<string, Set<InspectableFeed>>();

  /** The returned function takes the feed away, at its end. */
  add(hostIp: string, feed: InspectableFeed): () => void {
    const feeds = this.#byNode.get(hostIp) ?? new Set();
    this.#byNode.set(hostIp, feeds.add(feed));
    return () => {
      feeds.delete(feed);
      if (feeds.size === 0 && this.#byNode.get(hostIp) === feeds) this.#byNode.delete(hostIp);
    };
  }

  on(hostIp: string): readonly InspectableFeed[] {
    return [...(this.#byNode.get(hostIp) ?? [])];
  }
}
