import type { Counter } from 'prom-client';

import { createAnswer, errorAnswer, type RouteHandler, TEXT_TYPE } from '../answer.ts';
import type { Tokens } from '../tokens.ts';

export interface TokenRouteOptions {
  readonly tokens: Tokens;
  readonly issued: Counter;
}

const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';
const LONGEST_TTL_SECONDS = 21_600;

/**
 * Issues a session token, as `PUT /latest/api/token` of EC2 does:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html. A forwarded request is refused,
 * so that a proxy that can be made to send a PUT is of no use.
 */
export function createTokenRoute({ tokens, issued }: TokenRouteOptions): RouteHandler {
  return ({ client, request }) => {
    if (request.headers['x-forwarded-for'] !== undefined) return errorAnswer(403, 'forwarded requests get no token');
    const ttlSeconds = ttlOf(request.headers[TTL_HEADER]);
    if (ttlSeconds === undefined) {
      return errorAnswer(400, `${TTL_HEADER} must be a number from 1 to ${LONGEST_TTL_SECONDS}`);
    }
    const { token, ttlSeconds: given } = tokens.issue(client.address, ttlSeconds);
    issued.inc();
    return createAnswer(200, { 'content-type': TEXT_TYPE, [TTL_HEADER]: String(given) }, token);
  };
}

function ttlOf(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,5}$/.test(header)) return undefined;
  const seconds = Number(header);
  return seconds >= 1 && seconds <= LONGEST_TTL_SECONDS ? seconds : undefined;
}
