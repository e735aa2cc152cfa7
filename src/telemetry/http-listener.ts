import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Clock } from '#runtime/clock.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import { formatListenAddress } from './listen-address.ts';
import type { ListenAddress } from './listen-address.ts';
import type { Logger } from './logger.ts';

/** Answers one request. What it throws or rejects with is logged and answered 500. */
export type ListenerRoute = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

export interface HttpListenerOptions {
  /** For the log: `metrics`, `pprof`, `admin`. */
  readonly name: string;
  /** An address, or a Unix socket by its path. */
  readonly address: ListenAddress | { readonly path: string };
  /** By path. GET and HEAD only; anything else is 404 or 405. */
  readonly routes: Readonly<Record<string, ListenerRoute>>;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface HttpListener {
  /** Resolves with the port once it listens; never when it is closed before. */
  readonly listening: Promise<number>;
  /** Stops accepting, cuts what is open, and resolves when all is closed. */
  close(): Promise<void>;
}

/** Scrapes and probes come one at a time. More connections than this would use up the file descriptors that pods need. */
const MOST_CONNECTIONS = 256;

/** So that one peer that opens all that it can does not keep the kubelet's probes out. */
const MOST_CONNECTIONS_OF_A_PEER = 16;

/**
 * A small HTTP server for people and machines that look after the daemon. It never fails the daemon: an address that is
 * taken (the previous agent of a rolling update may still hold it) is tried again, and said once.
 */
export function startHttpListener(options: HttpListenerOptions): HttpListener {
  const server = createServer(
    {
      maxHeaderSize: 8192,
      headersTimeout: 5000,
      requestTimeout: 10_000,
      keepAliveTimeout: 5000,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => void answer(options, request, response),
  );
  server.maxConnections = MOST_CONNECTIONS;
  limitEachPeer(server);
  // A broken connection concerns its peer alone; node answers requests that it cannot parse.
  server.on('clientError', (_error, socket) => socket.destroy());
  const closing = new AbortController();
  const listening = listenUntilBound(server, options, closing.signal);
  return {
    listening,
    close: () => {
      closing.abort();
      return closeServer(server);
    },
  };
}

function limitEachPeer(server: Server): void {
  const connections = new Map<string, number>();
  server.on('connection', (socket) => {
    const peer = socket.remoteAddress ?? '';
    const count = connections.get(peer) ?? 0;
    if (count >= MOST_CONNECTIONS_OF_A_PEER) {
      socket.destroy();
      return;
    }
    connections.set(peer, count + 1);
    socket.once('close', () => {
      const rest = (connections.get(peer) ?? 1) - 1;
      if (rest === 0) connections.delete(peer);
      else connections.set(peer, rest);
    });
  });
}

function listenUntilBound(server: Server, options: HttpListenerOptions, signal: AbortSignal): Promise<number> {
  const { name, address, logger, clock } = options;
  const shown = 'path' in address ? address.path : formatListenAddress(address);
  const listening = listenWhenFree(server, {
    target: address,
    clock,
    signal,
    onWait: (error) => logger.warn(`${name}: cannot listen yet`, { address: shown, error }),
  });
  void listening.then((port) => {
    logger.info(`${name}: listening`, {
      address: 'path' in address ? shown : formatListenAddress({ ...address, port }),
    });
  });
  return listening;
}

async function answer(options: HttpListenerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    // The request's own host must not matter, and a path such as `//x` must not be taken for one.
    const url = URL.parse(`http://listener${request.url?.startsWith('/') === true ? request.url : '/'}`);
    const route = url === null ? undefined : options.routes[url.pathname];
    if (url === null || route === undefined) sendText(response, 404, 'not found\n');
    else if (request.method !== 'GET' && request.method !== 'HEAD') sendText(response, 405, 'method not allowed\n');
    else await route(request, response, url);
  } catch (error) {
    options.logger.error(`${options.name}: request failed`, { path: request.url, error: asError(error) });
    if (response.headersSent) response.destroy();
    else sendText(response, 500, 'internal error\n');
  }
}

/** One plain text answer. */
export function sendText(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    ...headers,
  });
  response.end(body);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
