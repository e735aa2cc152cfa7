import type { IncomingMessage, ServerResponse } from 'node:http';

/** One request under way, after its target has been understood. */
export interface Exchange {
  /** Who asks: see client-address.ts. */
  readonly address: string;
  /** Canonical and decoded. */
  readonly path: string;
  /** As received. */
  readonly query: string;
  /** Whether the path may be sent on as it is. */
  readonly plain: boolean;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export type HeaderSet = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly headers: HeaderSet;
  readonly body: string | Buffer;
  /** Whether a client that behaves gets this answer too, so that it is no news: an unannotated pod, a route that is closed. */
  readonly expected?: boolean;
}

export type RouteHandler = (exchange: Exchange) => Answer | Promise<Answer>;

export const TEXT: HeaderSet = { 'content-type': 'text/plain; charset=utf-8' };
const JSON_TYPE: HeaderSet = { 'content-type': 'application/json' };

/** As Go's `http.Error` writes them. */
const ERROR: HeaderSet = { ...TEXT, 'x-content-type-options': 'nosniff' };
const RETRY: HeaderSet = { ...ERROR, 'retry-after': '1' };

export function textAnswer(body: string): Answer {
  return { status: 200, headers: TEXT, body };
}

/** A document as bytes: to a text fastify would add a charset, which EC2 does not send. */
export function jsonAnswer(fields: Readonly<Record<string, string>>): Answer {
  return { status: 200, headers: JSON_TYPE, body: Buffer.from(`${JSON.stringify(fields)}\n`, 'utf8') };
}

/** An error: one line of plain text. 429 and 503 say when to come again. */
export function errorAnswer(status: number, message: string): Answer {
  return { status, headers: status === 503 || status === 429 ? RETRY : ERROR, body: `${oneLine(message)}\n` };
}

/** Longer texts would only come from a server that is not ours. */
const LONGEST_MESSAGE = 8192;

function oneLine(message: string): string {
  // oxlint-disable-next-line no-control-regex -- a message from elsewhere must stay one line
  return message.replace(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, LONGEST_MESSAGE);
}
