import type { IncomingMessage } from 'node:http';

import type { MetadataCredentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';
import type { MetadataMetrics } from '#telemetry/kiam-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { Answer, Exchange } from '../answer.ts';
import { fromSource } from '../from-source.ts';
import type { CredentialTexts, Dialect } from '../dialect.ts';
import type { Patience } from '../patience.ts';
import type { CredentialSource } from '../ports.ts';

export interface CredentialsRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<MetadataMetrics, 'credentialFetchErrors'>;
  readonly patienceOf: (request: IncomingMessage) => Patience;
  readonly dialect: Pick<Dialect, 'askedRole' | 'credentialsAnswer' | 'credentialsFailure'>;
}

const HANDLER = { handler: 'credentials' };

/** SDKs that send this with the request for credentials read `AccountId` from the answer (Java from 2.58 on). */
const EXTENDED_HEADER = 'x-amzn-extended';

/** The texts of one set of credentials, each made when it is first asked for. They live as long as the set. */
interface Answers {
  plain?: Answer;
  extended?: Answer;
}

/**
 * The credentials of the pod that asks, in the form of the metadata API (docs/specification.md, 8.4), if it may have the role.
 * Only who asks for it is told the account: with it SDKs may call names of their own for each account, which private DNS and
 * lists of allowed names need not know.
 */
export function createCredentialsRoute({
  source,
  clock,
  logger,
  metrics,
  patienceOf,
  dialect,
}: CredentialsRouteOptions): (exchange: Exchange, role: string) => Answer | Promise<Answer> {
  const answers = new WeakMap<MetadataCredentials, Answers>();
  const answersOf = (credentials: MetadataCredentials): Answers => {
    const known = answers.get(credentials);
    if (known !== undefined) return known;
    const made: Answers = {};
    answers.set(credentials, made);
    return made;
  };
  const answerWith = ({ client, request }: Exchange, role: string, credentials: MetadataCredentials): Answer => {
    const ready = answersOf(credentials);
    if (request.headers[EXTENDED_HEADER] !== '1')
      return (ready.plain ??= dialect.credentialsAnswer(textsOf(credentials)));
    if (ready.extended !== undefined) return ready.extended;
    const accountId = accountOf(source.roleArnOf(client, credentials)) ?? accountOf(role);
    // Without the account the text is not kept: the account may be known the next time.
    if (accountId === undefined) return dialect.credentialsAnswer(textsOf(credentials));
    return (ready.extended = dialect.credentialsAnswer(textsOf(credentials, accountId)));
  };
  const ask = async (exchange: Exchange, role: string, asked: string): Promise<Answer> => {
    const { client, request, response } = exchange;
    const { answerMs: waitMs } = patienceOf(request);
    const outcome = await fromSource({ clock, logger, waitMs, response }, (signal) =>
      source.podCredentials(client, role, signal),
    );
    if (outcome.ok) return answerWith(exchange, role, outcome.value);
    metrics.credentialFetchErrors.inc(HANDLER);
    return dialect.credentialsFailure(outcome.failure, client, asked);
  };
  return (exchange, asked) => {
    const role = dialect.askedRole(asked);
    const known = source.knownCredentials(exchange.client, role);
    return known === undefined ? ask(exchange, role, asked) : answerWith(exchange, role, known);
  };
}

/** The account of a role; undefined where its ARN is not known. */
export function accountOf(roleArn: string): string | undefined {
  return /^arn:[^:]*:iam::(\d{12}):/.exec(roleArn)?.[1];
}

function textsOf(credentials: MetadataCredentials, accountId?: string): CredentialTexts {
  return {
    Code: credentials.code,
    Type: credentials.type,
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.secretAccessKey,
    Token: credentials.token,
    Expiration: credentials.expiration,
    LastUpdated: credentials.lastUpdated,
    ...(accountId === undefined ? {} : { AccountId: accountId }),
  };
}
