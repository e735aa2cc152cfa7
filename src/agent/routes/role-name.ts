import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, type RouteHandler, textAnswer } from '../answer.ts';
import { askWithin } from '../ask-within.ts';
import { emptyRoleAnswer, roleFailureAnswer } from '../failure-response.ts';
import type { Client, CredentialSource } from '../ports.ts';

export interface RoleNameRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<MetadataMetrics, 'findRoleErrors' | 'emptyRole'>;
  readonly waitMs: number;
}

const HANDLER = { handler: 'roleName' };

/** The pod's role exactly as it is annotated, without a line's end: botocore uses the body as it is. */
export function createRoleNameRoute({ source, clock, logger, metrics, waitMs }: RoleNameRouteOptions): RouteHandler {
  const answerWith = (role: string): Answer => {
    if (role !== '') return textAnswer(role);
    metrics.emptyRole.inc(HANDLER);
    return emptyRoleAnswer();
  };
  const ask = async (client: Client, response: Parameters<RouteHandler>[0]['response']): Promise<Answer> => {
    const outcome = await askWithin({ clock, logger, waitMs, response }, (signal) => source.podRole(client, signal));
    if (outcome.ok) return answerWith(outcome.value.role);
    if (outcome.failure.kind === 'role-empty') return answerWith('');
    metrics.findRoleErrors.inc(HANDLER);
    return roleFailureAnswer(outcome.failure);
  };
  return ({ client, response }) => {
    const known = source.knownRole?.(client);
    return known === undefined ? ask(client, response) : answerWith(known.role);
  };
}
