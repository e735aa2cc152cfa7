import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Server } from 'node:net';

export interface ListenAddress {
  readonly host: string;
  /** 0 asks for any free port; later starts use the one that was given. */
  readonly port: number;
  /** Opens the socket elsewhere, such as inside a network namespace; without it the process listens where it is. */
  readonly open?: (host: string, port: number) => Promise<Server>;
}

const KEEP_ALIVE_MS = 65_000;

export const LOOPBACK_ANY_PORT: ListenAddress = { host: '127.0.0.1', port: 0 };

/** A server that can go away and come back at the same address, as a restarted one does. */
export interface HttpListener {
  /** The address that it listens on, or listened on last. */
  readonly address: ListenAddress;
  /** `host:port`, with brackets round an IPv6 address. */
  readonly authority: string;
  /** Stops listening and cuts every connection. Does nothing when it is stopped. */
  stop(): Promise<void>;
  /** Listens again at the same address. Does nothing when it listens. */
  start(): Promise<void>;
  /** Cuts every connection and keeps listening. */
  cutConnections(): void;
}

/** Listens at an address; rejects when that is not possible. */
export async function listen(server: HttpServer | HttpsServer, wanted: ListenAddress): Promise<HttpListener> {
  let address = wanted;
  // The servers' own lists leave out connections that are still shaking hands.
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const cutConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  // Five seconds, as Node has it, make a client's reuse of a connection race with its end.
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const start = async (): Promise<void> => {
    if (server.listening) return;
    const socket = await wanted.open?.(address.host, address.port);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const listening = (): void => {
        server.off('error', reject);
        resolve();
      };
      if (socket === undefined) server.listen({ host: address.host, port: address.port, backlog: 4096 }, listening);
      else server.listen(socket, listening);
    });
    const bound = server.address();
    if (bound !== null && typeof bound === 'object') address = { ...wanted, port: bound.port };
  };
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      cutConnections();
    });
  };
  await start();
  return {
    get address() {
      return address;
    },
    get authority() {
      return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    },
    stop,
    start,
    cutConnections,
  };
}

/** The whole body; undefined when it is longer than `limitBytes`. Rejects when the client goes away. */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    length += chunk.length;
    if (length > limitBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
