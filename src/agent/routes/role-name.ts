import type { IncomingMessage } from 'node:http';

import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, type Exchange, type RouteHandler, textAnswer } from '../answer.ts';
import { fromSource } from '../from-source.ts';
import { emptyRoleAnswer, roleFailureAnswer } from '../failure-response.ts';
import type { Patience } from '../patience.ts';
import type { CredentialSource } from '../ports.ts';

export interface RoleNameRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<MetadataMetrics, 'findRoleErrors' | 'emptyRole'>;
  readonly patienceOf: (request: IncomingMessage) => Patience;
}

const HANDLER = { handler: 'roleName' };

/** The pod's role exactly as it is annotated, without a line's end: botocore uses the body as it is. */
export function createRoleNameRoute({
  source,
  clock,
  logger,
  metrics,
  patienceOf,
}: RoleNameRouteOptions): RouteHandler {
  const answerWith = (role: string): Answer => {
    if (role !== '') return textAnswer(role);
    metrics.emptyRole.inc(HANDLER);
    return emptyRoleAnswer();
  };
  const ask = async ({ client, request, response }: Exchange): Promise<Answer> => {
    const { answerMs: waitMs } = patienceOf(request);
    const outcome = await fromSource({ clock, logger, waitMs, response }, (signal) => source.podRole(client, signal));
    if (outcome.ok) return answerWith(outcome.value.role);
    if (outcome.failure.kind === 'role-empty') return answerWith('');
    metrics.findRoleErrors.inc(HANDLER);
    return roleFailureAnswer(outcome.failure);
  };
  return (exchange) => {
    const known = source.knownRole?.(exchange.client);
    return known === undefined ? ask(exchange) : answerWith(known.role);
  };
}
