import type { WatchNodeHandler } from '#rpc/node-stream.ts';

import type { AgentScope } from './agent-scope.ts';
import { NodeFeed, type NodeFeedOptions } from './node-feed.ts';
import type { NodeFeeds } from './node-feeds.ts';

export interface NodeWatchOptions extends Omit<NodeFeedOptions, 'hostIp' | 'stream'> {
  readonly scope: Pick<AgentScope, 'of'>;
  /** Knows the streams that are open. */
  readonly feeds: Pick<NodeFeeds, 'add'>;
}

/** Answers `WatchNode`. The node is the one that is proven of the agent; what the agent says of itself changes nothing. */
export function createNodeWatch({ scope, feeds, ...options }: NodeWatchOptions): WatchNodeHandler {
  return async ({ host_ip }, stream) => {
    const caller = { peer: stream.peer, token: stream.token, hostIp: host_ip };
    const agent = await scope.of(caller, stream.signal);
    if (agent.kind !== 'node') return agent.kind === 'unknown' ? 'unknown' : 'unproven';
    const feed = new NodeFeed({ ...options, hostIp: agent.hostIp, stream });
    const end = feeds.add(agent.hostIp, feed);
    try {
      await feed.run();
    } finally {
      end();
    }
    return 'ended';
  };
}
