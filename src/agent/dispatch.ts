import type { IncomingMessage } from 'node:http';

import type { Counter } from 'prom-client';

import type { MetadataClient } from '#metadata/client.ts';
import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, errorAnswer, type Exchange } from './answer.ts';
import type { Dialect } from './dialect.ts';
import type { AgentHttpMetrics } from './metrics.ts';
import { type Patience, patienceOf as patienceOfClient } from './patience.ts';
import type { CredentialSource } from './ports.ts';
import type { Route } from './route.ts';
import type { RouteExpression } from './route-expression.ts';
import { createCredentialsRoute } from './routes/credentials.ts';
import { createHealthRoute } from './routes/health.ts';
import { createIamInfoRoute } from './routes/iam-info.ts';
import { createPingRoute } from './routes/ping.ts';
import { createBlockedRoute, createProxyRoute } from './routes/proxy.ts';
import { createRoleNameRoute } from './routes/role-name.ts';
import { createTokenRoute } from './routes/token.ts';
import { createTokenlessCount } from './tokenless.ts';
import { createTokens } from './tokens.ts';

export interface DispatchOptions {
  readonly source: CredentialSource;
  readonly metadata: Pick<MetadataClient, 'get'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetadataMetrics;
  readonly httpMetrics: AgentHttpMetrics;
  readonly allowedRoutes: RouteExpression;
  readonly waitMs: number;
  readonly requireImdsv2: boolean;
  readonly dialect: Dialect;
}

const TOKEN_HEADER = 'x-aws-ec2-metadata-token';

/** Checks the method and the IMDSv2 token, then calls the route. */
export function createDispatch(
  options: DispatchOptions,
): (exchange: Exchange, route: Route) => Answer | Promise<Answer> {
  const { source, metadata, metrics, httpMetrics, allowedRoutes, requireImdsv2, waitMs, dialect } = options;
  const { proxyRequestsBlocked: blocked } = metrics;
  const tokens = createTokens({ clock: options.clock, source });
  const patienceOf = ({ headers }: IncomingMessage): Patience => patienceOfClient(headers['user-agent'], waitMs);
  const ping = createPingRoute();
  const health = createHealthRoute(options);
  const roleName = createRoleNameRoute({ ...options, patienceOf });
  const credentials = createCredentialsRoute({ ...options, patienceOf });
  const iamInfo = createIamInfoRoute({ ...options, patienceOf });
  const token = createTokenRoute({ ...options, patienceOf, tokens, issued: httpMetrics.tokensIssued });
  const denied = createBlockedRoute({ allowed: allowedRoutes, blocked });
  const proxy = createProxyRoute({ metadata, allowed: allowedRoutes, blocked });

  const countTokenless = createTokenlessCount(source, httpMetrics.tokenless);

  const holdsToken = ({ client, request }: Exchange): boolean => {
    const given = request.headers[TOKEN_HEADER];
    return typeof given === 'string' && tokens.verify(client.address, given);
  };

  const answer = (exchange: Exchange, route: Route): Answer | Promise<Answer> => {
    switch (route.name) {
      case 'credentials':
        return credentials(exchange, route.role);
      case 'role-name':
        return roleName(exchange);
      case 'iam-info':
        return iamInfo(exchange);
      // Only PUT is special on the token's path: GET is forwarded to the real service, if the expression allows it.
      case 'token':
      case 'proxy':
        return proxy(exchange);
      case 'ping':
        return ping(exchange);
      case 'health':
        return health(exchange);
      case 'own':
        return dialect.own?.(exchange) ?? denied(exchange);
      case 'denied':
      default:
        return denied(exchange);
    }
  };

  return (exchange, route) => {
    const method = exchange.request.method;
    if (method === 'PUT' && route.name === 'token') return token(exchange);
    if (method !== 'GET' && method !== 'HEAD') return wrongMethod(route, httpMetrics.refusals);
    if (needsToken(route) && exchange.request.headers[TOKEN_HEADER] === undefined) countTokenless(exchange.client);
    if ((requireImdsv2 ? needsToken(route) : isDetection(exchange)) && !holdsToken(exchange)) {
      httpMetrics.refusals.inc({ reason: 'token' });
      return errorAnswer(401, `a valid ${TOKEN_HEADER} is required`);
    }
    return answer(exchange, route);
  };
}

/**
 * Whether a client finds out the version of the service by `/` with an invalid token: IMDSv2 answers 401 to that, in every mode
 * (Fluent Bit, `src/aws/flb_aws_imds.c`).
 */
function isDetection({ path, request }: Exchange): boolean {
  return path === '/' && request.headers[TOKEN_HEADER] !== undefined;
}

/** The kubelet's probes send no token. */
function needsToken({ name }: Route): boolean {
  return name !== 'ping' && name !== 'health';
}

function wrongMethod({ name }: Route, refusals: Counter<'reason'>): Answer {
  refusals.inc({ reason: 'method' });
  const answer = errorAnswer(405, 'method not allowed');
  return { ...answer, headers: { ...answer.headers, allow: name === 'token' ? 'GET, HEAD, PUT' : 'GET, HEAD' } };
}
