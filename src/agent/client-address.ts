import type { Socket } from 'node:net';

import { canonicalAddress } from '#domain/address.ts';

export interface ClientAddressOptions {
  /** `--allow-ip-query`: `?ip=` names the client. For development alone: it lets anyone be anyone. */
  readonly allowIpQuery: boolean;
}

/**
 * Who sent a request: the TCP source address in canonical form, and nothing that the client can write (SPEC 3). Undefined
 * when the socket is gone already or `?ip=`, where it is allowed, names no address.
 */
export function createClientAddress({
  allowIpQuery,
}: ClientAddressOptions): (socket: Socket, query: string) => string | undefined {
  const addresses = new WeakMap<Socket, string>();
  const ofSocket = (socket: Socket): string | undefined => {
    const known = addresses.get(socket);
    if (known !== undefined) return known;
    const address = socket.remoteAddress === undefined ? undefined : canonicalAddress(socket.remoteAddress);
    if (address !== undefined) addresses.set(socket, address);
    return address;
  };
  if (!allowIpQuery) return ofSocket;
  return (socket, query) => {
    const named = new URLSearchParams(query).get('ip');
    return named === null || named === '' ? ofSocket(socket) : canonicalAddress(named);
  };
}
