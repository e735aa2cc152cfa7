import type { ServerResponse } from 'node:http';

import type { MetadataCredentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, type Exchange, jsonAnswer } from '../answer.ts';
import { askWithin } from '../ask-within.ts';
import { credentialsFailureAnswer } from '../failure-response.ts';
import type { Client, CredentialSource } from '../ports.ts';

export interface CredentialsRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<MetadataMetrics, 'credentialFetchErrors'>;
  readonly waitMs: number;
}

const HANDLER = { handler: 'credentials' };

/** The credentials of the pod that asks, in the form of the metadata API (docs/specification.md, 8.4), if it may have the role. */
export function createCredentialsRoute({
  source,
  clock,
  logger,
  metrics,
  waitMs,
}: CredentialsRouteOptions): (exchange: Exchange, role: string) => Answer | Promise<Answer> {
  /** A text lives as long as the credentials that it is made of. */
  const answers = new WeakMap<MetadataCredentials, Answer>();
  const answerWith = (credentials: MetadataCredentials): Answer => {
    const ready = answers.get(credentials);
    if (ready !== undefined) return ready;
    const answer = credentialsAnswer(credentials);
    answers.set(credentials, answer);
    return answer;
  };
  const ask = async (client: Client, role: string, response: ServerResponse): Promise<Answer> => {
    const outcome = await askWithin({ clock, logger, waitMs, response }, (signal) =>
      source.podCredentials(client, role, signal),
    );
    if (outcome.ok) return answerWith(outcome.value);
    metrics.credentialFetchErrors.inc(HANDLER);
    return credentialsFailureAnswer(outcome.failure);
  };
  return ({ client, response }, role) => {
    const known = source.knownCredentials?.(client, role);
    return known === undefined ? ask(client, role, response) : answerWith(known);
  };
}

function credentialsAnswer(credentials: MetadataCredentials): Answer {
  return jsonAnswer({
    Code: credentials.code,
    Type: credentials.type,
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.secretAccessKey,
    Token: credentials.token,
    Expiration: credentials.expiration,
    LastUpdated: credentials.lastUpdated,
  });
}
