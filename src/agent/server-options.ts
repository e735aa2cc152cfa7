import type { Server } from 'node:http';
import type { Socket } from 'node:net';

import type { FastifyHttpOptions } from 'fastify';

export interface HttpTimeouts {
  /** From a connection's, or the next request's, beginning to the end of its headers. */
  readonly headersMs: number;
  /** How long a connection may make no progress: wait for its next request, or hold a client that does not read its answers. */
  readonly idleMs: number;
  /** How often the first is looked at. */
  readonly checkIntervalMs: number;
}

/** docs/specification.md, 3. The longest wait for an answer is under a second, so a stalled connection is a dead one. */
export const DEFAULT_TIMEOUTS: HttpTimeouts = {
  headersMs: 5000,
  idleMs: 10_000,
  checkIntervalMs: 1000,
};

const LONGEST_HEADERS_BYTES = 8192;

export interface ServerOptionsInput {
  readonly timeouts: HttpTimeouts;
  /** Whether a client error only means that the parser was stopped on purpose. */
  readonly isStopped: (error: Error, socket: object) => boolean;
  /** Told of each connection that sent something that is no HTTP request. */
  readonly onMalformed: () => void;
  /** Whether an answer is still owed on the connection, so that nothing else may be written to it. */
  readonly isAnswering: (socket: Socket) => boolean;
}

/**
 * How fastify and node:http treat connections. Every target is given to the one route: canonical-path.ts alone interprets
 * targets, and a router that decoded them once more might disagree with it.
 */
export function createServerOptions({ timeouts, isStopped, onMalformed, isAnswering }: ServerOptionsInput) {
  return {
    http: {
      maxHeaderSize: LONGEST_HEADERS_BYTES,
      headersTimeout: timeouts.headersMs,
      connectionsCheckingInterval: timeouts.checkIntervalMs,
      insecureHTTPParser: false,
      // The Host header is checked with the rest of the request: see request-gate.ts.
      requireHostHeader: false,
    },
    requestTimeout: timeouts.headersMs,
    connectionTimeout: timeouts.idleMs,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    rewriteUrl: () => '/',
    clientErrorHandler: (error, socket) => {
      if (isStopped(error, socket)) return;
      // A client that hangs up in the middle of a request is no news.
      if (error.code !== 'ECONNRESET') onMalformed();
      if (socket.writable && error.code !== 'ECONNRESET' && !isAnswering(socket)) socket.write(rawAnswer(error.code));
      socket.destroySoon();
    },
  } satisfies FastifyHttpOptions<Server>;
}

/** An answer to bytes that are not an HTTP request. */
function rawAnswer(code: string): string {
  const [status, body] = STATUS_LINES[code] ?? ['400 Bad Request', 'malformed request\n'];
  return [
    `HTTP/1.1 ${status}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${body.length}`,
    'connection: close',
    '',
    body,
  ].join('\r\n');
}

const STATUS_LINES: Readonly<Record<string, readonly [string, string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the headers are too long\n'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request did not arrive in time\n'],
};

/**
 * One timer for a connection's whole life: with a time-out of its own between requests, each request would set two. fastify
 * has no option for it, because it takes 0 for its default. Clients are not told how long a connection is kept: Kiam never
 * told them either.
 */
export function limitIdleOnce(server: Server): void {
  server.keepAliveTimeout = 0;
}
