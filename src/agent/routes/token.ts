import type { IncomingMessage } from 'node:http';

import { LRUCache } from 'lru-cache';
import type { Counter } from 'prom-client';

import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, createAnswer, errorAnswer, type Exchange, type RouteHandler, TEXT_TYPE } from '../answer.ts';
import { fromSource } from '../from-source.ts';
import { JUST_UNDER_ONE_SECOND_MS, type Patience } from '../patience.ts';
import type { CredentialSource } from '../ports.ts';
import type { Tokens } from '../tokens.ts';

export interface TokenRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly patienceOf: (request: IncomingMessage) => Patience;
  readonly tokens: Tokens;
  readonly issued: Counter;
}

const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';
const LONGEST_TTL_SECONDS = 21_600;
/** More addresses than a node has. A forgotten one is taken for one that never hung up. */
const MOST_ADDRESSES = 4096;

/**
 * Issues a session token, as `PUT /latest/api/token` of EC2 does:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html. A forwarded request is refused,
 * so that a proxy that can be made to send a PUT is of no use.
 */
export function createTokenRoute({
  source,
  clock,
  logger,
  tokens,
  issued,
  patienceOf,
}: TokenRouteOptions): RouteHandler {
  const answerWith = (address: string, askedSeconds: number): Answer => {
    const { token, ttlSeconds } = tokens.issue(address, askedSeconds);
    issued.inc();
    return createAnswer(200, { 'content-type': TEXT_TYPE, [TTL_HEADER]: String(ttlSeconds) }, token);
  };
  /** Where a client has hung up on its last request for a token. */
  const hungUp = new LRUCache<string, true>({ max: MOST_ADDRESSES });
  /**
   * Every client asks for a token first, with a time-out of its own: where its pod is known when the token comes, the next
   * request is answered at once. Whatever is found out the token is issued, as it says nothing about the pod. It comes in time
   * at the latest when a client asks again, so that none goes on without.
   */
  const wait = async ({ client, request, response }: Exchange, askedSeconds: number): Promise<Answer> => {
    const { address } = client;
    const { tokenMs } = patienceOf(request);
    const waitMs = hungUp.delete(address) ? Math.min(tokenMs, JUST_UNDER_ONE_SECOND_MS) : tokenMs;
    await fromSource({ clock, logger, waitMs, response }, (signal) => source.podRole(client, signal));
    if (response.destroyed) hungUp.set(address, true);
    return answerWith(address, askedSeconds);
  };
  return (exchange) => {
    const { client, request } = exchange;
    if (request.headers['x-forwarded-for'] !== undefined) return errorAnswer(403, 'forwarded requests get no token');
    const ttlSeconds = ttlOf(request.headers[TTL_HEADER]);
    if (ttlSeconds === undefined) {
      return errorAnswer(400, `${TTL_HEADER} must be a number from 1 to ${LONGEST_TTL_SECONDS}`);
    }
    const isKnown = source.knownUid(client.address) !== undefined;
    return isKnown ? answerWith(client.address, ttlSeconds) : wait(exchange, ttlSeconds);
  };
}

function ttlOf(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,5}$/.test(header)) return undefined;
  const seconds = Number(header);
  return seconds >= 1 && seconds <= LONGEST_TTL_SECONDS ? seconds : undefined;
}
