import type { NodeId } from '#domain/node.ts';
import type { KiamClient, SendReport } from '#rpc/client.ts';
import { type Gateway, gatewayOver } from '#rpc/gateway.ts';
import type { ServiceHandlers } from '#rpc/server.ts';
import { NodeFeed, type NodeFeedOptions } from '#server/node-feed.ts';

const NEVER = new AbortController().signal;
const nothing = (): string => '';
const takesNoReport: SendReport = () => Promise.resolve({ ok: true, response: {} });

/** The agent's gateway to a server in the same process. A call may take `waitMs` milliseconds. */
export function createInProcessGateway(handlers: ServiceHandlers, waitMs: number): Gateway {
  const context = { signal: NEVER, remainingMs: waitMs, peer: '', token: '', certificate: nothing };
  return gatewayOver((method, message) => handlers[method](message, context));
}

/** The stream of what the pods of a node may have, from the server in the same process. */
export function createInProcessStream(
  options: Omit<NodeFeedOptions, 'stream' | 'node'>,
  node: NodeId,
): Pick<KiamClient, 'watchNode'> {
  return {
    watchNode: async (_request, { onUpdate, signal }) => {
      const stream = {
        signal,
        peer: '',
        token: '',
        certificate: nothing,
        giveWay: () => {},
        send: (update: Parameters<typeof onUpdate>[0]) => {
          onUpdate(update, takesNoReport);
          return true;
        },
        drained: () => Promise.resolve(),
      };
      await new NodeFeed({ ...options, node, stream }).run();
      return { code: 0, details: 'the server is stopping', moved: false };
    },
  };
}
