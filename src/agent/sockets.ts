import type { Server } from 'node:http';
import type { Socket } from 'node:net';

import { canonicalAddress } from '#domain/address.ts';

export interface SocketLimits {
  readonly perAddress: number;
  readonly inAll: number;
}

/** SDKs keep a handful of connections to the metadata service. */
export const DEFAULT_SOCKET_LIMITS: SocketLimits = { perAddress: 128, inAll: 4096 };

/**
 * Closes connections beyond the limits as soon as they are accepted, so that no address can use up the others' file
 * descriptors. `onRefused` is told of each.
 */
export function limitSockets(server: Server, limits: SocketLimits, onRefused: () => void): void {
  const open = new Map<string, number>();
  server.maxConnections = limits.inAll;
  server.on('drop', onRefused);
  server.on('connection', (socket: Socket) => {
    const address = canonicalAddress(socket.remoteAddress ?? '');
    if (address === undefined) {
      socket.destroy();
      return;
    }
    const count = open.get(address) ?? 0;
    if (count >= limits.perAddress) {
      socket.destroy();
      onRefused();
      return;
    }
    open.set(address, count + 1);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
}
