import type { IncomingHttpHeaders } from 'node:http';

import type { Counter } from 'prom-client';

import type { MetadataAnswer, MetadataFailure } from '#metadata/answer.ts';
import type { MetadataClient } from '#metadata/client.ts';

import { type Answer, createAnswer, errorAnswer, type Exchange, type RouteHandler, TEXT_TYPE } from '../answer.ts';
import type { RouteExpression } from '../route-expression.ts';

export interface ProxyRouteOptions {
  readonly metadata: Pick<MetadataClient, 'get'>;
  readonly allowed: RouteExpression;
  readonly blocked: Counter;
}

/** The client's headers that are forwarded. Everything else about the forwarded request is the agent's own. */
const REQUEST_HEADERS = ['accept', 'if-modified-since', 'if-none-match'] as const;
const ANSWER_HEADERS = ['content-type', 'etag', 'last-modified', 'server'] as const;

/** A query that has only one meaning to any HTTP program. The metadata service reads none; Kiam forwards it. */
const PLAIN_QUERY = /^[A-Za-z0-9._~:@=,+&/-]*$/;

/**
 * Other paths of the real metadata service, where the operator's expression is found in the canonical path. What is asked
 * there is the agent's own GET of exactly the path that was matched.
 */
export function createProxyRoute({ metadata, allowed, blocked }: ProxyRouteOptions): RouteHandler {
  const refuse = createBlockedRoute({ allowed, blocked });
  return (exchange) => {
    if (!exchange.plain) return errorAnswer(400, 'the path is ambiguous');
    if (!allowed.matches(exchange.path)) return refuse(exchange);
    if (!PLAIN_QUERY.test(exchange.query)) return errorAnswer(400, 'the query is ambiguous');
    return relay(metadata, exchange);
  };
}

/** Refuses a path, whatever the expression says, in the words of an expression that does not match. */
export function createBlockedRoute({ allowed, blocked }: Omit<ProxyRouteOptions, 'metadata'>): RouteHandler {
  return ({ path }) => {
    blocked.inc();
    return errorAnswer(404, `request blocked by allow-route-regexp "${allowed.text}": ${path}`, true);
  };
}

async function relay(
  metadata: ProxyRouteOptions['metadata'],
  { path, query, request, response }: Exchange,
): Promise<Answer> {
  const gone = new AbortController();
  const giveUp = (): void => gone.abort();
  response.once('close', giveUp);
  const outcome = await metadata.get(path, { query, headers: passedOn(request.headers), signal: gone.signal });
  response.off('close', giveUp);
  return outcome.ok ? passedBack(outcome.answer) : failureAnswer(outcome);
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of REQUEST_HEADERS) {
    const value = headers[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

function passedBack({ status, headers, body }: MetadataAnswer): Answer {
  // The agent's own token was refused twice, which has nothing to do with the client's token.
  if (status === 401) return errorAnswer(502, 'metadata service: it refused the token');
  if (status < 200 || status > 599) return errorAnswer(502, 'metadata service: it gave no valid answer');
  const kept: Record<string, string> = { 'content-type': TEXT_TYPE };
  for (const name of ANSWER_HEADERS) {
    const value = headers[name];
    if (value !== undefined) kept[name] = value;
  }
  return { ...createAnswer(status, kept, body), expected: status === 404 };
}

function failureAnswer({ reason, message }: MetadataFailure): Answer {
  if (reason === 'busy') return errorAnswer(503, `metadata service: ${message}`);
  return errorAnswer(reason === 'timed out' ? 504 : 502, `metadata service: ${message}`);
}
