import { type Agent, type ClientRequest, type IncomingMessage, request as startRequest } from 'node:http';

import { metadataFailure, type MetadataOutcome } from './answer.ts';

/** The service's answers are small: user data, the largest, may have 16 KiB. */
export const LONGEST_ANSWER_BYTES = 1024 * 1024;

export interface Question {
  readonly method: 'GET' | 'PUT';
  /** Path and query, sent as they are. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ExchangeOptions {
  readonly endpoint: URL;
  readonly agent: Agent;
  readonly question: Question;
  readonly signal: AbortSignal;
}

/**
 * One request without a body and its answer, read whole and at most {@link LONGEST_ANSWER_BYTES} long. Never rejects.
 * A kept connection that the service closed just before it was used again is replaced once.
 */
export async function exchange(options: ExchangeOptions): Promise<MetadataOutcome> {
  const first = await attempt(options);
  if (first !== 'stale connection') return first;
  const second = await attempt(options);
  return second === 'stale connection' ? metadataFailure('unreachable', 'the connection was reset') : second;
}

function attempt({
  endpoint,
  agent,
  question,
  signal,
}: ExchangeOptions): Promise<MetadataOutcome | 'stale connection'> {
  return new Promise((resolve) => {
    let request: ClientRequest;
    try {
      request = startRequest({
        agent,
        hostname: endpoint.hostname.replace(/^\[|\]$/g, ''),
        port: endpoint.port === '' ? 80 : endpoint.port,
        method: question.method,
        path: question.target,
        headers: { ...question.headers, ...(question.method === 'PUT' ? { 'content-length': '0' } : {}) },
        signal,
      });
    } catch (error) {
      // Node refuses a header value or a path that it cannot write, before anything is sent.
      resolve(metadataFailure('unreachable', textOf(error)));
      return;
    }
    request.on('response', (response) => {
      request.off('close', closedEarly);
      collect(request, response, resolve);
    });
    request.on('error', (error) => {
      if (signal.aborted) resolve(metadataFailure('cancelled', 'the request was given up'));
      else if (request.reusedSocket && isReset(error)) resolve('stale connection');
      else resolve(metadataFailure('unreachable', textOf(error)));
    });
    // Without an error or an answer: the service switched protocols, which nobody asked for.
    const closedEarly = (): void => resolve(metadataFailure('unreachable', 'the connection was closed'));
    request.on('close', closedEarly);
    request.end();
  });
}

/** Calls `settle` once or more often; the first counts. */
function collect(request: ClientRequest, response: IncomingMessage, settle: (outcome: MetadataOutcome) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= LONGEST_ANSWER_BYTES) {
      chunks.push(chunk);
      return;
    }
    settle(metadataFailure('too large', `the answer is longer than ${LONGEST_ANSWER_BYTES} bytes`));
    request.destroy();
  });
  response.on('end', () => {
    const body = Buffer.concat(chunks);
    settle({ ok: true, answer: { status: response.statusCode ?? 0, headers: singleHeaders(response), body } });
  });
  response.on('error', (error) => settle(metadataFailure('unreachable', textOf(error))));
  response.on('close', () => settle(metadataFailure('unreachable', 'the answer was cut short')));
}

function singleHeaders(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (typeof value === 'string') headers[name] = value;
  }
  return headers;
}

function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  // A failed attempt at several addresses has an empty message and says why in its code.
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}
