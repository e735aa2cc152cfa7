import type { MetadataCredentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';
import type { CounterSeries } from '#telemetry/hot-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, type Exchange, jsonAnswer } from '../answer.ts';
import { refusedAtDoor } from '../door.ts';
import { containerFailureAnswer } from '../failure-response.ts';
import { fromSource } from '../from-source.ts';
import { isContainerHost } from '../host.ts';
import { createLimits, type PodLimits } from '../limits.ts';
import type { PodService, BegunAnswer } from '../pod-server.ts';
import type { PodCredentials, PodCredentialSource } from '../ports.ts';
import { accountOf } from '../routes/credentials.ts';
import { connectionLimitsOf } from '../sockets.ts';
import type { Target } from '../targets.ts';
import type { ContainerMetrics } from './metrics.ts';
import type { PodClaims, TokenRefusal, TokenVerifier } from './token-verifier.ts';

export interface ContainerServiceOptions {
  readonly source: PodCredentialSource;
  readonly verifier: TokenVerifier;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ContainerMetrics;
  readonly podLimits: PodLimits;
  /** `--wait`, in milliseconds. */
  readonly waitMs: number;
}

export const CREDENTIALS_PATH = '/v1/credentials';

/** The AWS SDK for JavaScript v3 gives a request up after one second, and does not repeat it (`credential-provider-imds`). */
const LONGEST_WAIT_MS = 900;

/** All pods with the host's network have its address, and share these. */
const CONNECTIONS_PER_ADDRESS = 256;

/**
 * Statuses as the agent of EKS gives them (aws/eks-pod-identity-agent, `internal/validation/request.go`): 400 for what will not
 * become better, where SDKs give up; and 503, with which they try again, while the cluster's keys may be known in a moment.
 */
const REFUSALS: Readonly<Record<TokenRefusal, readonly [status: number, message: string]>> = {
  keys: [503, 'the keys of the cluster are not known yet'],
  'unknown-key': [503, 'the token was signed with a key that is not known yet'],
  empty: [400, 'the Authorization header holds no token'],
  unreadable: [400, 'the token cannot be read'],
  signature: [400, 'the signature of the token is wrong'],
  issuer: [400, 'the token is of another issuer'],
  audience: [400, 'the token is for another audience'],
  expired: [400, 'the token has expired'],
  early: [400, 'the token is not valid yet'],
  'no-pod': [400, 'the token was made for no pod'],
};

/**
 * `GET /v1/credentials` as EKS Pod Identity serves it
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html): who asks is told by the token in
 * `Authorization` and by the connection. Limits are counted by the pod once its token is known to be good, and by the address
 * before that.
 */
export function createContainerService(options: ContainerServiceOptions): PodService {
  const { verifier, metrics, podLimits } = options;
  const byAddress = createLimits(podLimits);
  const byPod = createLimits(podLimits);
  const answerPod = createPodAnswers(options);
  const count = createResponseCount(metrics);

  const serve = (exchange: Exchange, target: Target, nowMs: number): ReturnType<PodService['serve']> => {
    const { client, request } = exchange;
    const token = request.headers.authorization ?? '';
    let claims = verifier.known(token);
    if (claims === undefined) {
      const usage = byAddress.admit(client.address, nowMs);
      if (typeof usage === 'string') return tooMany(usage);
    }
    const refusal = refusalOf(exchange, target);
    if (refusal !== undefined) return refusal;
    if (claims === undefined) {
      const verdict = verifier.verify(token);
      if (!verdict.ok) {
        metrics.countRefusal(verdict.reason);
        return refusedAtDoor('token', ...REFUSALS[verdict.reason]);
      }
      claims = verdict.claims;
    }
    const usage = byPod.admit(claims.uid, nowMs);
    return typeof usage === 'string' ? tooMany(usage) : { kind: 'served', usage, answer: answerPod(exchange, claims) };
  };

  return {
    socketLimits: { ...connectionLimitsOf(podLimits), perAddress: CONNECTIONS_PER_ADDRESS },
    handlerOf: () => undefined,
    serve: (exchange, target, nowMs) => {
      const served = serve(exchange, target, nowMs);
      count(served);
      return served;
    },
  };
}

/** What is wrong with a request whoever sent it. */
function refusalOf({ client, request }: Exchange, target: Target): ReturnType<typeof refusedAtDoor> | undefined {
  if (client.address === '') return refusedAtDoor('path', 400, 'the client has no address', true);
  if (!target.ok) return refusedAtDoor('path', 400, target.reason);
  const { host, expect } = request.headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    return refusedAtDoor('malformed', 417, 'the expectation cannot be met');
  }
  if (target.path !== CREDENTIALS_PATH) return refusedAtDoor('path', 404, 'there is nothing but /v1/credentials here');
  if (request.method !== 'GET' && request.method !== 'HEAD') return refusedAtDoor('method', 405, 'method not allowed');
  if (!isContainerHost(target.authority ?? host, request.socket)) {
    return refusedAtDoor('host', 403, 'the request is for another host than 169.254.170.23 or [fd00:ec2::23]');
  }
  return undefined;
}

function tooMany(what: 'rate' | 'concurrency'): ReturnType<typeof refusedAtDoor> {
  return refusedAtDoor(what, 429, `too many requests: the pod's limit on ${what} is reached`, true);
}

function createPodAnswers({
  source,
  clock,
  logger,
  waitMs,
}: ContainerServiceOptions): (exchange: Exchange, claims: PodClaims) => Answer | Promise<Answer> {
  /** The text of each set of credentials, made when it is first asked for. It lives as long as the set. */
  const answers = new WeakMap<MetadataCredentials, Answer>();
  const answerWith = ({ credentials, roleArn }: PodCredentials): Answer => {
    const ready = answers.get(credentials);
    if (ready !== undefined) return ready;
    const accountId = accountOf(roleArn);
    const answer = jsonAnswer({
      AccessKeyId: credentials.accessKeyId,
      SecretAccessKey: credentials.secretAccessKey,
      Token: credentials.token,
      ...(accountId === undefined ? {} : { AccountId: accountId }),
      Expiration: credentials.expiration,
    });
    if (accountId !== undefined) answers.set(credentials, answer);
    return answer;
  };
  const limits = { clock, logger, waitMs: Math.min(waitMs, LONGEST_WAIT_MS) };
  const ask = async ({ client, response }: Exchange, claims: PodClaims): Promise<Answer> => {
    const outcome = await fromSource({ ...limits, response }, (signal) => source.find(client, claims, signal));
    return outcome.ok ? answerWith(outcome.value) : containerFailureAnswer(outcome.failure);
  };
  return (exchange, claims) => {
    const known = source.known(exchange.client, claims);
    return known === undefined ? ask(exchange, claims) : answerWith(known);
  };
}

function createResponseCount({ responses }: ContainerMetrics): (served: ReturnType<PodService['serve']>) => void {
  const byStatus = new Map<number, CounterSeries>();
  const add = (status: number): void => {
    let series = byStatus.get(status);
    if (series === undefined) {
      series = responses.series({ code: String(status) });
      byStatus.set(status, series);
    }
    series.inc();
  };
  const addServed = ({ answer }: BegunAnswer): void => {
    if (!(answer instanceof Promise)) add(answer.status);
    else
      answer.then(
        ({ status }) => add(status),
        () => add(500),
      );
  };
  return (served) => (served.kind === 'refused' ? add(served.status) : addServed(served));
}
