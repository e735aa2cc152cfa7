import type { IncomingMessage, ServerResponse } from 'node:http';

import { beginningOf, oneLine } from '#runtime/text.ts';

import type { Client } from './ports.ts';

/** One request in progress, after its target has been understood. */
export interface Exchange {
  readonly client: Client;
  /** Canonical and decoded. */
  readonly path: string;
  /** As received. */
  readonly query: string;
  /** Whether the path may be forwarded as it is. */
  readonly plain: boolean;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export interface Answer {
  readonly status: number;
  /** Complete, with the length of the body, so that a kept answer can be written as it is. */
  readonly headers: Readonly<Record<string, string>>;
  /** A string is written together with the headers; a buffer takes a second write, which halves the rate of a warm agent. */
  readonly body: string | Buffer;
  /**
   * Whether well-behaved clients get this answer too, so that it is not worth a log line: a pod without annotation, a closed
   * route.
   */
  readonly expected?: boolean;
}

export type RouteHandler = (exchange: Exchange) => Answer | Promise<Answer>;

export const TEXT_TYPE = 'text/plain; charset=utf-8';

export function createAnswer(status: number, headers: Readonly<Record<string, string>>, body: string | Buffer): Answer {
  // These two have no body by definition, and the length would be that of another answer (RFC 9110, 8.6).
  if (status === 204 || status === 304) return { status, headers, body: '' };
  return { status, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) }, body };
}

export function textAnswer(body: string): Answer {
  return createAnswer(200, { 'content-type': TEXT_TYPE }, body);
}

export function jsonAnswer(fields: Readonly<Record<string, string>>): Answer {
  return createAnswer(200, { 'content-type': 'application/json' }, `${JSON.stringify(fields)}\n`);
}

/**
 * An error: one line of plain text, with the headers of Go's `http.Error`. 429 and 503 say when to retry. SDKs since 2026 read
 * milliseconds from a header of AWS's own, which 503 leaves out because a quick retry is right there. `expected`: see {@link
 * Answer}.
 */
export function errorAnswer(status: number, message: string, expected = false): Answer {
  const headers = { 'content-type': TEXT_TYPE, 'x-content-type-options': 'nosniff' };
  return {
    ...createAnswer(
      status,
      { ...headers, ...RETRY_HEADERS[status] },
      `${beginningOf(oneLine(message), LONGEST_MESSAGE)}\n`,
    ),
    expected,
  };
}

const RETRY_HEADERS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  429: { 'retry-after': '1', 'x-amz-retry-after': '1000' },
  503: { 'retry-after': '1' },
};

/** No server of this program sends longer texts. */
const LONGEST_MESSAGE = 8192;
