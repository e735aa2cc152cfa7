import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Clock } from '#runtime/clock.ts';
import { type ConnectionLimits, limitConnections } from '#runtime/connection-limits.ts';
import { asError } from '#runtime/errors.ts';
import { listenWhenFree } from '#runtime/listen.ts';
import { type Admit, createRate } from '#runtime/rate.ts';
import { createRequestGate, type RequestGate } from '#runtime/request-gate.ts';
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

/** Scrapes and probes come one at a time. The share of one peer leaves room for the kubelet's probes and for Prometheus. */
const LIMITS: ConnectionLimits = {
  perAddress: 16,
  inAll: 256,
  keptForNeighbours: 0,
  ratePerSecond: 200,
  burst: 400,
};

/** Requests of one peer; beyond it the kubelet has a share for its probes. */
const RATE = { perSecond: 100, burst: 200 };
const PROBES = { perSecond: 10, burst: 20 };
const KUBELET = /^kube-probe\//;

/**
 * A small HTTP server for operators and monitoring. It never makes the daemon fail: an address that is in use (the previous
 * agent of a rolling update may still have it) is retried, and logged once.
 */
export function startHttpListener(options: HttpListenerOptions): HttpListener {
  const server = createServer({
    maxHeaderSize: 8192,
    headersTimeout: 5000,
    requestTimeout: 10_000,
    keepAliveTimeout: 5000,
    connectionsCheckingInterval: 1000,
    requireHostHeader: false,
  });
  limitConnections(server, {
    limits: LIMITS,
    clock: options.clock,
    addressOf: peerOf,
    isNeighbour: () => false,
    isAnswering: () => false,
    onRefused: () => {},
  });
  const gate = createRequestGate(server);
  const isWithinLimits = createLimit(options.clock);
  server.on('request', (request, response) => serve({ ...options, gate, isWithinLimits }, request, response));
  // A broken connection concerns its peer alone; node answers requests that it cannot parse.
  server.on('clientError', (error, socket) => {
    if (!gate.hasStopped(error, socket)) socket.destroy();
  });
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

function peerOf({ remoteAddress = '' }: IncomingMessage['socket']): string {
  return remoteAddress;
}

function createLimit(clock: Clock): (request: IncomingMessage) => boolean {
  const admit: Admit = createRate(RATE);
  const admitProbe: Admit = createRate(PROBES);
  return ({ socket, headers }) => {
    const nowMs = clock.monotonic();
    if (admit(peerOf(socket), nowMs)) return true;
    return KUBELET.test(headers['user-agent'] ?? '') && admitProbe(peerOf(socket), nowMs);
  };
}

interface Served extends HttpListenerOptions {
  readonly gate: RequestGate;
  readonly isWithinLimits: (request: IncomingMessage) => boolean;
}

/** One request of a connection at a time; what comes behind a body, or one too many, is not looked at. */
function serve(served: Served, request: IncomingMessage, response: ServerResponse): void {
  if (response.socket === null) {
    served.gate.postpone(request, response, () => serve(served, request, response));
    return;
  }
  const isTooMuch = !served.isWithinLimits(request);
  if (isTooMuch || hasBody(request)) {
    response.shouldKeepAlive = false;
    served.gate.ignoreRest(request.socket);
  }
  if (isTooMuch) sendText(response, 429, 'too many requests\n', { 'Retry-After': '1' });
  else void answer(served, request, response);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
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
  body: string | Buffer,
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
