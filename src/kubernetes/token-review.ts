import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { createHash } from 'node:crypto';

import { field, parseJson } from './json-fields.ts';
import type { KubernetesConnection } from './connection.ts';

export interface TokenReviewerOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Asks for the UID of the pod that a service account token was made for; undefined when it proves none. Never rejects. */
export type TokenReviewer = (token: string, signal: AbortSignal) => Promise<string | undefined>;

/** A projected token lives an hour and its pod's end is seen by the watch; a refused one is asked about again soon. */
const ACCEPTED_MS = 300_000;
const REFUSED_MS = 5000;

/** Longer texts are no tokens. */
const LONGEST_TOKEN = 16_384;

/** Answers remembered at the same time: more agents than nodes in the largest cluster. */
const MOST_ANSWERS = 20_000;

interface Remembered {
  readonly podUid: string | undefined;
  readonly untilMs: number;
}

/**
 * Proves who an agent is by a TokenReview
 * (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/). A projected token names the
 * pod that it was made for. Answers are remembered under the token's hash for five minutes: the token itself is not kept.
 */
export function createTokenReviewer({ connection, clock, logger }: TokenReviewerOptions): TokenReviewer {
  const remembered = new Map<string, Remembered>();
  let saidWhyNot = false;

  const remember = (key: string, podUid: string | undefined): void => {
    const [oldest] = remembered.keys();
    if (remembered.size >= MOST_ANSWERS && oldest !== undefined) remembered.delete(oldest);
    remembered.delete(key);
    remembered.set(key, { podUid, untilMs: clock.monotonic() + (podUid === undefined ? REFUSED_MS : ACCEPTED_MS) });
  };

  return async (token, signal) => {
    if (token.length > LONGEST_TOKEN) return undefined;
    const key = createHash('sha256').update(token).digest('base64');
    const known = remembered.get(key);
    if (known !== undefined && known.untilMs > clock.monotonic()) return known.podUid;
    try {
      const podUid = await review(connection, token, signal);
      saidWhyNot = false;
      remember(key, podUid);
      return podUid;
    } catch (error) {
      if (!signal.aborted && !saidWhyNot) {
        logger.error('agents’ tokens cannot be reviewed', { error: error instanceof Error ? error : String(error) });
        saidWhyNot = true;
      }
      return undefined;
    }
  };
}

const POD_UID = 'authentication.kubernetes.io/pod-uid';

async function review(
  connection: KubernetesConnection,
  token: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const response = await connection.request({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    contentType: 'application/json',
    body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } }),
    headersWithinMs: 5000,
    silenceLimitMs: 5000,
    signal,
  });
  const text = await response.text(1024 * 1024);
  if (response.status !== 200 && response.status !== 201) {
    throw new Error(`create tokenreviews.authentication.k8s.io was answered ${response.status}: does RBAC allow it?`);
  }
  const status = field(parseJson(text), 'status');
  if (field(status, 'authenticated') !== true) return undefined;
  const uids = field(field(field(status, 'user'), 'extra'), POD_UID);
  const [uid] = Array.isArray(uids) ? uids : [];
  return typeof uid === 'string' && uid !== '' ? uid : undefined;
}
