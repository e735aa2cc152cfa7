import type { Server } from 'node:http';
import type { Socket } from 'node:net';

import { canonicalAddress } from '#domain/address.ts';
import type { Clock } from '#runtime/clock.ts';

import type { Client, Evidence } from './ports.ts';

export interface ClientsOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** `--allow-ip-query`: `?ip=` names the client. For development alone: it lets anyone be anyone. */
  readonly allowIpQuery: boolean;
  /** What the kernel shows of an address now. Never throws. */
  readonly readEvidence: (address: string) => Evidence;
}

/** Tells who sent a request. Undefined when the socket is gone already or `?ip=`, where it is allowed, names no address. */
export type ClientOf = (socket: Socket, query: string) => Client | undefined;

const NAMED: Evidence = { kind: 'none', reason: 'the client was named by ?ip=' };

/**
 * Who sent a request: the TCP source address in canonical form, and nothing that a client writes (docs/specification.md, 3).
 * The kernel's evidence is read once for each connection, when it is accepted: a connection never passes from one pod to
 * another.
 */
export function createClients(server: Server, { clock, allowIpQuery, readEvidence }: ClientsOptions): ClientOf {
  const clients = new WeakMap<Socket, Client>();
  const ofSocket = (socket: Socket): Client | undefined => {
    const known = clients.get(socket);
    if (known !== undefined) return known;
    const address = socket.remoteAddress === undefined ? undefined : canonicalAddress(socket.remoteAddress);
    if (address === undefined) return undefined;
    const client = { address, evidence: readEvidence(address), acceptedMs: clock.monotonic() };
    clients.set(socket, client);
    return client;
  };
  server.on('connection', ofSocket);
  if (!allowIpQuery) return ofSocket;
  return (socket, query) => {
    const named = new URLSearchParams(query).get('ip');
    const client = ofSocket(socket);
    if (named === null || named === '' || client === undefined) return client;
    const address = canonicalAddress(named);
    return address === undefined ? undefined : { ...client, address, evidence: NAMED };
  };
}
