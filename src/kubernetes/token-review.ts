import { AGENT_TOKEN_AUDIENCE, type ReviewSource, type TokenReview } from '#domain/agent-token.ts';
import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { unlessAborted } from '#runtime/within.ts';
import { createSingleFlight } from '#runtime/single-flight.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';
import { createHash } from 'node:crypto';

import type { KubernetesConnection } from './connection.ts';
import { field, listField, parseJson, textField } from './json-fields.ts';
import { createReviewLimit } from './review-limit.ts';

export interface TokenReviewerOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Asks which pod a service account token was made for. Never rejects. */
export type TokenReviewer = (token: string, source: ReviewSource, signal: AbortSignal) => Promise<TokenReview>;

const REFUSED: TokenReview = { kind: 'refused' };
const UNAVAILABLE: TokenReview = { kind: 'unavailable' };

/** A projected token lives an hour and the watch shows the end of its pod; a refused token is reviewed again soon. */
const ACCEPTED_MS = 300_000;
const REFUSED_MS = 5000;

/** Longer texts are no tokens. */
const LONGEST_TOKEN = 16_384;

/** Answers remembered at the same time: more agents than nodes in the largest cluster. */
const MOST_ANSWERS = 20_000;

interface Remembered {
  readonly answer: TokenReview;
  readonly untilMs: number;
}

/**
 * Proves who an agent is by a TokenReview
 * (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/). A projected token names the
 * pod that it was made for and, from Kubernetes 1.30 on, that pod's node
 * (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/). Answers are remembered under the token's
 * hash for five minutes, and a good one for the token's life while the API server cannot be asked: the token itself is not
 * kept. How many tokens not yet found valid are reviewed is limited for each source.
 */
export function createTokenReviewer({ connection, clock, logger }: TokenReviewerOptions): TokenReviewer {
  const remembered = new Map<string, Remembered>();
  const isNews = oncePerChange('well');

  const remember = (key: string, answer: TokenReview): void => {
    const [oldest] = remembered.keys();
    if (remembered.size >= MOST_ANSWERS && oldest !== undefined) remembered.delete(oldest);
    remembered.delete(key);
    remembered.set(key, { answer, untilMs: clock.monotonic() + (answer.kind === 'pod' ? ACCEPTED_MS : REFUSED_MS) });
  };

  const ask = async (token: string, key: string): Promise<TokenReview> => {
    try {
      const answer = await review(connection, token);
      isNews('well');
      remember(key, answer);
      return answer;
    } catch (error) {
      if (isNews('failing')) {
        logger.error('agents’ tokens cannot be reviewed', { error: describeError(error) });
      }
      return UNAVAILABLE;
    }
  };

  const limit = createReviewLimit(clock);
  const askWithinLimit = async (token: string, key: string, source: ReviewSource): Promise<TokenReview> => {
    if (!limit.take(source)) return UNAVAILABLE;
    const answer = await ask(token, key);
    if (answer.kind === 'pod') limit.giveBack(source);
    return answer;
  };

  // Calls of an agent at the same time share one review, which continues for the others when one of them ends.
  const share = createSingleFlight<TokenReview>();

  return async (token, source, signal) => {
    if (token.length > LONGEST_TOKEN) return REFUSED;
    const key = createHash('sha256').update(token).digest('base64');
    const known = remembered.get(key);
    if (known !== undefined && known.untilMs > clock.monotonic()) return known.answer;
    const wasGood = known?.answer.kind === 'pod';
    const { result } = share(key, () => (wasGood ? ask(token, key) : askWithinLimit(token, key, source)));
    const answer = await unlessAborted(result, signal, () => UNAVAILABLE);
    if (answer.kind !== 'unavailable') return answer;
    return wasGood && clock.now() < expiryOf(token) ? known.answer : answer;
  };
}

/** When a token that was found good ends, in milliseconds since the epoch; 0 when it does not say (RFC 7519, 4.1.4). */
function expiryOf(token: string): number {
  const claims = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  const seconds = field(claims, 'exp');
  return typeof seconds === 'number' ? seconds * 1000 : 0;
}

const POD_UID = 'authentication.kubernetes.io/pod-uid';
const NODE_NAME = 'authentication.kubernetes.io/node-name';

const NEVER = new AbortController().signal;

async function review(connection: KubernetesConnection, token: string): Promise<TokenReview> {
  const response = await connection.request({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    contentType: 'application/json',
    body: JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [AGENT_TOKEN_AUDIENCE] },
    }),
    headersWithinMs: 5000,
    silenceLimitMs: 5000,
    signal: NEVER,
  });
  const text = await response.text(1024 * 1024);
  if (response.status !== 200 && response.status !== 201) {
    throw new Error(`create tokenreviews.authentication.k8s.io was answered ${response.status}: does RBAC allow it?`);
  }
  const status = field(parseJson(text), 'status');
  // A token for others must not do, or every pod's own token would make it an agent.
  const isForUs = listField(status, 'audiences').includes(AGENT_TOKEN_AUDIENCE);
  if (field(status, 'authenticated') !== true || !isForUs) return REFUSED;
  const user = field(status, 'user');
  const uid = soleText(user, POD_UID);
  return uid === ''
    ? REFUSED
    : { kind: 'pod', uid, user: textField(user, 'username'), nodeName: soleText(user, NODE_NAME) };
}

/** What a user's `extra` says under a key; `''` unless that is one text. */
function soleText(user: unknown, key: string): string {
  const [text, ...others] = listField(field(user, 'extra'), key);
  return typeof text === 'string' && others.length === 0 ? text : '';
}
