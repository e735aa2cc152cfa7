import http, { type IncomingMessage, type RequestListener, type Server } from 'node:http';
import https from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ProxyOptions {
  /** Speaks TLS with this certificate. */
  readonly tls?: { readonly certificatePem: string; readonly privateKeyPem: string };
  /** `user:password` that must be shown. */
  readonly user?: string;
}

/** A proxy that leads every name to the same port of 127.0.0.1. */
export interface StandInProxy {
  readonly port: number;
  /** `CONNECT host:port` and `GET http://host:port/path`, as they came. */
  readonly requests: readonly string[];
  /** The names that TLS clients asked for. */
  readonly serverNames: readonly unknown[];
  /** What it answers from now on in place of serving: a status, or nothing at all. */
  refuseWith: number | 'silence' | undefined;
  close(): void;
}

export async function startStandInProxy({ tls, user }: ProxyOptions = {}): Promise<StandInProxy> {
  const requests: string[] = [];
  const serverNames: unknown[] = [];
  const sockets = new Set<Duplex>();
  let refuseWith: StandInProxy['refuseWith'];

  const statusFor = (request: IncomingMessage): number | 'silence' | undefined => {
    requests.push(`${request.method} ${request.url}`);
    if ('servername' in request.socket && request.socket.servername !== undefined) {
      serverNames.push(request.socket.servername);
    }
    const wanted = `Basic ${Buffer.from(user ?? '').toString('base64')}`;
    return user !== undefined && request.headers['proxy-authorization'] !== wanted ? 407 : refuseWith;
  };
  const forward: RequestListener = (request, response) => {
    const status = statusFor(request);
    if (status === 'silence') return;
    const target = URL.parse(request.url ?? '');
    if (status !== undefined || target === null) {
      response.writeHead(status ?? 400).end();
      return;
    }
    const headers = { ...request.headers };
    delete headers['proxy-authorization'];
    const onward = http.request({
      host: '127.0.0.1',
      port: target.port,
      method: request.method,
      path: target.pathname + target.search,
      headers,
    });
    onward.on('response', (answer) => answer.pipe(response.writeHead(answer.statusCode ?? 500, answer.headers)));
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  };
  const server: Server =
    tls === undefined
      ? http.createServer(forward)
      : https.createServer({ cert: tls.certificatePem, key: tls.privateKeyPem }, forward);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    const status = statusFor(request);
    socket.on('error', () => {});
    if (status === 'silence') return;
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const port = Number(/:(\d+)$/.exec(request.url ?? '')?.[1]);
    join(socket, port, () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'), sockets);
  });
  const port = await listen(server);
  return {
    port,
    requests,
    serverNames,
    get refuseWith() {
      return refuseWith;
    },
    set refuseWith(answer) {
      refuseWith = answer;
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A SOCKS 5 proxy (RFC 1928) without authentication that leads every name to the same port of 127.0.0.1. */
export async function startStandInSocks(): Promise<{
  readonly port: number;
  /** `host:port` of the connections asked for. */
  readonly requests: readonly string[];
  close(): void;
}> {
  const requests: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(Buffer.from([5, 0]));
      socket.once('data', (request) => {
        const end = 5 + (request[4] ?? 0);
        const port = request.readUInt16BE(end);
        requests.push(`${request.subarray(5, end).toString()}:${port}`);
        join(socket, port, () => socket.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0])), sockets);
      });
    });
  });
  const port = await listen(server);
  return {
    port,
    requests,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function join(socket: Duplex, port: number, onConnected: () => void, sockets: Set<Duplex>): void {
  const onward = connect(port, '127.0.0.1', () => {
    onConnected();
    onward.pipe(socket);
    socket.pipe(onward);
  });
  sockets.add(onward);
  onward.on('error', () => socket.destroy());
  onward.on('close', () => socket.destroy());
  socket.on('close', () => onward.destroy());
}

function listen(server: { listen(port: number, host: string, done: () => void): void; address(): unknown }) {
  return new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null && 'port' in address ? Number(address.port) : 0);
    });
  });
}
