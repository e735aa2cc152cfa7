import { type NodeId, nodeKey, nodeKeysOf, nodeTextOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';

import type { InspectableFeed, NodeFeeds } from '../node-feeds.ts';
import type { NodeIndex } from '../node-index.ts';
import type { NodeReports, ReportedAgent } from '../node-reports.ts';
import type { PodView } from '../ports.ts';
import type { PodState } from './judge-pod.ts';
import type { AgentStatus, NodeStatus } from './server-status.ts';

export interface NodeStatusOptions {
  readonly pods: Pick<PodView, 'byUid'>;
  readonly feeds: Pick<NodeFeeds, 'ofKeys' | 'nodes'>;
  readonly reports: Pick<NodeReports, 'latest'>;
  readonly index: Pick<NodeIndex, 'podsOn'>;
  /** In milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Called before each node: other work goes on in between. */
  readonly awaitTurn: AwaitTurn;
}

interface CountedNode {
  readonly keys: readonly string[];
  pods: number;
  failing: number;
  waiting: number;
}

/** Nodes by name, and what was counted of their pods. */
export type CountedNodes = Map<string, CountedNode>;

export function countNode(nodes: CountedNodes, pod: PodRecord, state: PodState): void {
  const name = nodeTextOf(pod);
  const node = nodes.get(name) ?? counted(nodeKeysOf(pod));
  node.pods += 1;
  if (state !== 'fine') node[state] += 1;
  nodes.set(name, node);
}

/** Adds the nodes without such a pod whose agents have a stream to this replica. */
export async function addNodesWithStreams(nodes: CountedNodes, options: NodeStatusOptions): Promise<void> {
  for (const node of Array.from(options.feeds.nodes())) {
    await options.awaitTurn();
    const name = nameOf(options, node);
    if (!nodes.has(name)) nodes.set(name, counted([nodeKey(node)]));
  }
}

/** By name. */
export async function nodeStatuses(nodes: CountedNodes, options: NodeStatusOptions): Promise<readonly NodeStatus[]> {
  const statuses: NodeStatus[] = [];
  for (const [node, { keys, ...counts }] of nodes) {
    await options.awaitTurn();
    const streams: readonly InspectableFeed[] = options.feeds.ofKeys(keys);
    statuses.push({
      node,
      streams: streams.length,
      synced: streams.some((feed) => feed.inspect('').isSynced),
      ...counts,
      agent: agentStatus(options.reports.latest(keys), options.nowMs()),
    });
  }
  return statuses.toSorted((left, right) => (left.node < right.node ? -1 : 1));
}

function counted(keys: readonly string[]): CountedNode {
  return { keys, pods: 0, failing: 0, waiting: 0 };
}

/** The name of a node, where one of its pods tells it; else its address. */
function nameOf({ pods, index }: NodeStatusOptions, node: NodeId): string {
  if (node.by === 'name') return node.name;
  for (const uid of index.podsOn(node)) {
    const pod = pods.byUid(uid);
    if (pod !== undefined) return nodeTextOf(pod);
  }
  return node.address;
}

function agentStatus(agent: ReportedAgent | undefined, nowMs: number): AgentStatus | null {
  if (agent?.details === undefined) return null;
  const { report, details } = agent;
  const { version, redirect, guard, pods, lastError } = details;
  return {
    version,
    isReady: report.ready,
    notReadyBecause: report.ready ? '' : report.message,
    redirect,
    guard,
    pods,
    lastError: lastError === undefined ? null : lastError.text,
    lastErrorSecondsAgo: lastError === undefined ? null : Math.max(0, Math.round((nowMs - lastError.atMs) / 1000)),
  };
}
