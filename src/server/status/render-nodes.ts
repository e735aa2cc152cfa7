import { spoken } from '../explain/explanation.ts';
import { type ScreenLine, MOST_LINES, moreLines, type Row, table, worstFirst } from './lines.ts';
import type { NodeStatus, ServerStatus } from './server-status.ts';

/** What an agent complained of longer ago is in `--json`. */
const RECENT_SECONDS = 3600;

export function nodeLines(replicas: readonly ServerStatus[]): ScreenLine[] {
  const byNode = Map.groupBy(
    replicas.flatMap(({ nodes }) => nodes),
    ({ node }) => node,
  );
  const nodes = [...byNode].map(([name, seen]) => mergedNode(name, seen));
  const rows = nodes.map((node): Row => {
    const { agent, pods, failing } = node;
    const state = stateOf(node);
    const rules = [agent?.redirect ?? '?', agent?.guard ?? '?'];
    const isFine = state === 'ready' || state === 'synced';
    const colour = failing > 0 || agent?.guard === 'missing' ? 'red' : isFine ? 'green' : 'yellow';
    return { cells: [node.node, agent?.version ?? '?', ...rules, pods, failing, state].map(String), colour };
  });
  const head = ['NODE', 'AGENT', 'REDIRECT', 'GUARD', 'PODS', 'FAILING', 'STATE'];
  return rows.length === 0
    ? []
    : [...table('Nodes', head, [43, 10, 8, 7, 6, 7, 13], worstFirst(rows)), ...agentProblems(nodes)];
}

/** A node as all replicas together know it: the one that has its stream knows its agent. */
function mergedNode(node: string, seen: readonly NodeStatus[]): NodeStatus {
  const most = (count: (one: NodeStatus) => number): number => Math.max(...seen.map(count));
  return {
    node,
    streams: seen.reduce((sum, one) => sum + one.streams, 0),
    synced: seen.some(({ synced }) => synced),
    pods: most(({ pods }) => pods),
    failing: most(({ failing }) => failing),
    waiting: most(({ waiting }) => waiting),
    agent: seen.find(({ agent }) => agent !== null)?.agent ?? null,
  };
}

function stateOf({ streams, synced, agent }: NodeStatus): string {
  if (streams === 0) return 'no stream';
  if (!synced) return 'waiting';
  if (agent === null) return 'synced';
  return agent.isReady ? 'ready' : 'not ready';
}

/** Why agents are not ready, and else what they last complained of. */
function agentProblems(nodes: readonly NodeStatus[]): ScreenLine[] {
  const problems = nodes.flatMap(({ node, agent }): ScreenLine[] => {
    if (agent === null) return [];
    const { isReady, notReadyBecause, lastError, lastErrorSecondsAgo: ago } = agent;
    if (!isReady) return [{ text: `  ${node}: ${notReadyBecause}`, colour: 'red' }];
    if (lastError === null || ago === null || ago > RECENT_SECONDS) return [];
    return [{ text: `  ${node}, ${spoken(ago * 1000)} ago: ${lastError}`, colour: 'yellow' }];
  });
  return [...problems.slice(0, MOST_LINES), ...moreLines(problems.length - MOST_LINES)];
}
