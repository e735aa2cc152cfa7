import type { WatchNodeHandler } from '#rpc/node-stream.ts';

import type { AgentScope } from './agent-scope.ts';
import { NodeFeed, type NodeFeedOptions } from './node-feed.ts';

export interface NodeWatchOptions extends Omit<NodeFeedOptions, 'hostIp' | 'stream'> {
  readonly scope: Pick<AgentScope, 'of'>;
}

/** Answers `WatchNode`. The node is the one that is proven of the agent; what the agent says of itself changes nothing. */
export function createNodeWatch({ scope, ...options }: NodeWatchOptions): WatchNodeHandler {
  return async (_request, stream) => {
    const agent = await scope.of(stream, stream.signal);
    if (agent.kind !== 'node') return agent.kind === 'unknown' ? 'unknown' : 'unproven';
    await new NodeFeed({ ...options, hostIp: agent.hostIp, stream }).run();
    return 'ended';
  };
}
