import type { Server, Socket } from 'node:net';

import type { Clock } from './clock.ts';
import { createRate } from './rate.ts';

export interface ConnectionLimits {
  readonly perAddress: number;
  readonly inAll: number;
  /** How many of those in all only neighbours may have. */
  readonly keptForNeighbours: number;
  /** New connections of one address a second, and how many may come at once before that; 0 is no limit. */
  readonly ratePerSecond: number;
  readonly burst: number;
}

export interface ConnectionLimitsOptions {
  readonly limits: ConnectionLimits;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** The address that connects; without one the connection is closed. */
  readonly addressOf: (socket: Socket) => string | undefined;
  /** Whether a share is reserved for this address. Called only when connections run short. */
  readonly isNeighbour: (address: string, socket: Socket) => boolean;
  /** Whether an answer is owed on the connection. */
  readonly isAnswering: (socket: Socket) => boolean;
  /** Called for each connection that is closed because of a limit. */
  readonly onRefused: () => void;
}

/** A connection younger than this may have a request on its way. */
const UNUSED_AFTER_MS = 100;

/** The machine's own address is shared by all its programs without a network of their own, and by the kubelet's probes. */
const SHARE_OF_OWN_MACHINE = 4;

/** The connections of one address, oldest first, with the moments at which they were accepted. */
type Connections = Map<Socket, number>;

/**
 * Keeps the number of connections within limits, so that no client uses up the file descriptors and the time of the others. An
 * address at its limit loses its oldest connection on which no answer is owed to the new one. When there are too many in all,
 * the address with the most loses one. Listeners that were there before see only connections that are accepted: node:http would
 * give a refused one a parser.
 */
export function limitConnections(server: Server, options: ConnectionLimitsOptions): void {
  const { limits, clock, addressOf, onRefused } = options;
  const open = new Map<string, Connections>();
  const admit = createRate({ perSecond: limits.ratePerSecond, burst: limits.burst });
  let count = 0;

  const forget = (address: string, socket: Socket): void => {
    const connections = open.get(address);
    if (connections?.delete(socket) !== true) return;
    count -= 1;
    if (connections.size === 0) open.delete(address);
  };
  const close = (address: string, socket: Socket): void => {
    forget(address, socket);
    socket.destroy();
    onRefused();
  };

  /** Closes a connection of the address with the most, where only some may lose one. */
  const closeOne = (newcomer: string, mayLose: (address: string, socket: Socket) => boolean): void => {
    let most = newcomer;
    for (const [address, connections] of open) {
      const [first] = connections.keys();
      const size = open.get(most)?.size ?? 0;
      if (connections.size > size && first !== undefined && mayLose(address, first)) most = address;
    }
    const connections: Connections = open.get(most) ?? new Map();
    const socket = unused(connections, options) ?? [...connections.keys()].at(-1);
    if (socket !== undefined) close(most, socket);
  };

  /** Accepts a connection or closes it; in either case another one may have to be closed. */
  const take = (address: string, socket: Socket): void => {
    const nowMs = clock.monotonic();
    if (!admit(address, nowMs)) return close(address, socket);
    const connections: Connections = open.get(address) ?? new Map();
    if (connections.size >= mostOf(limits, socket)) {
      const oldest = unused(connections, options);
      if (oldest === undefined) return close(address, socket);
      close(address, oldest);
    }
    open.set(address, connections.set(socket, nowMs));
    count += 1;
    socket.once('close', () => forget(address, socket));
    if (count > limits.inAll) return closeOne(address, () => true);
    if (count <= limits.inAll - limits.keptForNeighbours || options.isNeighbour(address, socket)) return undefined;
    return closeOne(address, (other, any) => !options.isNeighbour(other, any));
  };

  const others = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const address = addressOf(socket);
    if (address === undefined) socket.destroy();
    else take(address, socket);
    if (!socket.destroyed) for (const listener of others) listener.call(server, socket);
  });
}

function mostOf({ perAddress }: ConnectionLimits, { remoteAddress, localAddress }: Socket): number {
  return remoteAddress === localAddress ? perAddress * SHARE_OF_OWN_MACHINE : perAddress;
}

/** The oldest connection that can be closed without a request being lost. */
function unused(connections: Connections, { clock, isAnswering }: ConnectionLimitsOptions): Socket | undefined {
  const latestMs = clock.monotonic() - UNUSED_AFTER_MS;
  for (const [socket, acceptedMs] of connections) {
    if (acceptedMs > latestMs) return undefined;
    if (!isAnswering(socket)) return socket;
  }
  return undefined;
}
