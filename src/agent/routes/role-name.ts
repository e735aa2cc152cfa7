import type { IncomingMessage } from 'node:http';

import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { Answer, Exchange, RouteHandler } from '../answer.ts';
import { fromSource } from '../from-source.ts';
import type { Dialect } from '../dialect.ts';
import type { Patience } from '../patience.ts';
import type { Client, CredentialSource, PodRole } from '../ports.ts';

export interface RoleNameRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<MetadataMetrics, 'findRoleErrors' | 'emptyRole'>;
  readonly patienceOf: (request: IncomingMessage) => Patience;
  readonly dialect: Pick<Dialect, 'roleAnswer' | 'roleFailure'>;
}

const NO_ROLE: PodRole = { role: '', roleArn: '' };

const HANDLER = { handler: 'roleName' };

/** The pod's role exactly as it is annotated, without a line's end: botocore uses the body as it is. */
export function createRoleNameRoute(options: RoleNameRouteOptions): RouteHandler {
  const { source, clock, logger, metrics, patienceOf, dialect } = options;
  const answerWith = (role: PodRole, client: Client): Answer => {
    if (role.role === '') metrics.emptyRole.inc(HANDLER);
    return dialect.roleAnswer(role, client);
  };
  const ask = async ({ client, request, response }: Exchange): Promise<Answer> => {
    const { answerMs: waitMs } = patienceOf(request);
    const outcome = await fromSource({ clock, logger, waitMs, response }, (signal) => source.podRole(client, signal));
    if (outcome.ok) return answerWith(outcome.value, client);
    if (outcome.failure.kind === 'role-empty') return answerWith(NO_ROLE, client);
    metrics.findRoleErrors.inc(HANDLER);
    return dialect.roleFailure(outcome.failure, client);
  };
  return (exchange) => {
    const known = source.knownRole(exchange.client);
    return known === undefined ? ask(exchange) : answerWith(known, exchange.client);
  };
}
