import { type NodeId, nodeKey } from '#domain/node.ts';
import type { NodeDetails } from '#domain/node-details.ts';
import type { NodeReport } from '#domain/node-readiness.ts';

/** What one agent said last. */
export interface ReportedAgent {
  readonly report: NodeReport;
  /** Undefined where the agent is older. */
  readonly details: NodeDetails | undefined;
}

interface OpenReport {
  readonly peer: string;
  said: ReportedAgent | undefined;
}

/**
 * What agents say of their nodes, for as long as their streams are open here. A node has two agents while one takes the place of
 * the other; they are told apart by their connections.
 */
export class NodeReports {
  readonly #byNode = new Map<string, Set<OpenReport>>();
  readonly #listeners = new Set<() => void>();

  /** A stream of the node has opened on this connection. The returned function ends what was reported with it. */
  opened(node: NodeId, peer: string): () => void {
    const key = nodeKey(node);
    const open = this.#byNode.get(key) ?? new Set();
    const entry: OpenReport = { peer, said: undefined };
    this.#byNode.set(key, open.add(entry));
    return () => {
      open.delete(entry);
      if (open.size === 0 && this.#byNode.get(key) === open) this.#byNode.delete(key);
      this.#changed();
    };
  }

  /** Takes a report from the connection of an open stream of the node; false where there is none. */
  take(node: NodeId, peer: string, report: NodeReport, details?: NodeDetails): boolean {
    const open = [...(this.#byNode.get(nodeKey(node)) ?? [])].filter((entry) => entry.peer === peer);
    for (const entry of open) entry.said = { report, details };
    if (open.length > 0) this.#changed();
    return open.length > 0;
  }

  /** The last report of each agent of a node, by any of the node's keys. */
  of(keys: readonly string[]): readonly NodeReport[] {
    return keys.flatMap((key) => [...(this.#byNode.get(key) ?? [])]).flatMap(({ said }) => said?.report ?? []);
  }

  /** What the agent said last whose stream was opened last, of those that have said something. */
  latest(keys: readonly string[]): ReportedAgent | undefined {
    return keys
      .flatMap((key) => [...(this.#byNode.get(key) ?? [])])
      .flatMap(({ said }) => said ?? [])
      .at(-1);
  }

  /** Calls `listener` after each change. The returned function ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
