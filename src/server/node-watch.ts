import { type NodeId, nodeKey } from '#domain/node.ts';
import type { AgentStream, WatchNodeHandler } from '#rpc/agent-stream.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { createPlaces } from '#runtime/places.ts';

import type { AgentScope, Caller, Scope } from './agent-scope.ts';
import { NodeFeed, type NodeFeedOptions } from './node-feed.ts';
import type { NodeFeeds } from './node-feeds.ts';
import type { NodeReports } from './node-reports.ts';

export interface NodeWatchOptions extends Omit<NodeFeedOptions, 'node' | 'stream'> {
  readonly scope: Pick<AgentScope, 'of'>;
  /** Knows the streams that are open. */
  readonly feeds: Pick<NodeFeeds, 'add'>;
  /** What agents report over the connections of their streams. */
  readonly reports: Pick<NodeReports, 'opened'>;
}

/** An agent has one stream, and a second while it changes over to another connection. */
const MOST_STREAMS_OF_NODE = 2;

/** How often the agent's node is proven again while its stream is open. */
const PROVE_AGAIN_MS = 60_000;

/** Answers `WatchNode`. The node is the one that is proven of the agent; what the agent says of itself changes nothing. */
export function createNodeWatch({ scope, feeds, reports, ...options }: NodeWatchOptions): WatchNodeHandler {
  const takePlace = createPlaces(MOST_STREAMS_OF_NODE);
  return async ({ host_ip }, stream) => {
    const caller = { peer: stream.peer, token: stream.token, certificate: stream.certificate, hostIp: host_ip };
    const agent = await scope.of(caller, stream.signal);
    if (agent.kind !== 'node') return agent.kind === 'unknown' ? 'unknown' : 'unproven';
    const proof = followProof({ ...options, scope, caller, agent, stream });
    const closing = AbortSignal.any([options.closing, proof.lost]);
    const feed = new NodeFeed({ ...options, node: agent.node, stream, closing });
    const leave = [
      feeds.add(agent.node, feed),
      reports.opened(agent.node, stream.peer),
      takePlace(nodeKey(agent.node), () => stream.giveWay()),
      () => proof.end(),
    ];
    try {
      await feed.run();
    } finally {
      for (const end of leave) end();
    }
    return 'ended';
  };
}

interface Proof {
  /** Aborts once the agent is no longer who it was. */
  readonly lost: AbortSignal;
  end(): void;
}

/**
 * Watches over what was proven of an agent: its pod's deletion ends it as the watch tells it, and the token is reviewed again
 * from time to time. While nobody can be asked, what was proven stands.
 */
function followProof(options: {
  readonly scope: Pick<AgentScope, 'of'>;
  readonly index: NodeFeedOptions['index'];
  readonly pods: NodeFeedOptions['pods'];
  readonly clock: Clock;
  readonly caller: Caller;
  readonly agent: Extract<Scope, { kind: 'node' }>;
  readonly stream: Pick<AgentStream, 'signal'>;
}): Proof {
  const { scope, index, pods, clock, caller, stream } = options;
  const { node, agentUid } = options.agent;
  const lost = new AbortController();
  const over = new AbortController();
  const look = (uid: string): void => {
    if (uid === agentUid && pods.byUid(uid) === undefined) lost.abort();
  };
  const unsubscribe = index.subscribe(node, look);
  // It may have gone while its token was reviewed.
  if (agentUid !== undefined) look(agentUid);
  const proveAgain = async (): Promise<void> => {
    const until = AbortSignal.any([over.signal, lost.signal, stream.signal]);
    while (!until.aborted) {
      await sleep(clock, PROVE_AGAIN_MS, until);
      if (until.aborted) return;
      if (!stillProves(await scope.of(caller, until), node)) lost.abort();
    }
  };
  void proveAgain();
  return {
    lost: lost.signal,
    end: () => {
      unsubscribe();
      over.abort();
    },
  };
}

function stillProves(scope: Scope, node: NodeId): boolean {
  if (scope.kind === 'refused') return false;
  return scope.kind !== 'node' || nodeKey(scope.node) === nodeKey(node);
}
