import type { Clock } from '#runtime/clock.ts';

import { type MetadataFailure, metadataFailure, type MetadataOutcome } from './answer.ts';
import type { Question } from './exchange.ts';

/**
 * The longest life that the service grants:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html
 */
const TOKEN_TTL_SECONDS = 21_600;
const RENEW_BEFORE_MS = 300_000;

/** How long it is remembered that the service has no tokens, or did not answer when asked for one. */
const WITHOUT_TOKEN_MS = 300_000;

export const TOKEN_HEADER = 'x-aws-ec2-metadata-token';
export const TOKEN_TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';

/** `value` is undefined for a service that is read without a token: `isUnanswered` if it did not answer when asked for one. */
export type TokenOutcome = HeldToken | MetadataFailure;

interface HeldToken {
  readonly ok: true;
  readonly value: string | undefined;
  readonly isUnanswered: boolean;
}

export interface SessionTokenOptions {
  readonly clock: Clock;
  /** Asks the service with a time limit of its own: the token is shared, so it must not end with one caller's signal. */
  readonly ask: (question: Question) => Promise<MetadataOutcome>;
  /** Whether a request for a token that is not answered in time means that there is none. */
  readonly readsWithoutToken: boolean;
}

/** The program's own IMDSv2 token: asked for once by all who need it, kept until shortly before it ends. */
export class SessionToken {
  readonly #clock: Clock;
  readonly #ask: SessionTokenOptions['ask'];
  readonly #readsWithoutToken: boolean;
  #held: { readonly token: HeldToken; readonly untilMs: number } | undefined;
  #asking: Promise<TokenOutcome> | undefined;

  constructor({ clock, ask, readsWithoutToken }: SessionTokenOptions) {
    this.#clock = clock;
    this.#ask = ask;
    this.#readsWithoutToken = readsWithoutToken;
  }

  get(): Promise<TokenOutcome> {
    if (this.#held !== undefined && this.#clock.monotonic() < this.#held.untilMs) {
      return Promise.resolve(this.#held.token);
    }
    this.#asking ??= this.#request().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** Forgets a token that the service refused, unless another has taken its place. */
  discard(value: string | undefined): void {
    if (this.#held?.token.value === value) this.#held = undefined;
  }

  async #request(): Promise<TokenOutcome> {
    const outcome = await this.#ask({
      method: 'PUT',
      target: '/latest/api/token',
      headers: { [TOKEN_TTL_HEADER]: String(TOKEN_TTL_SECONDS) },
    });
    // With a hop limit of 1 the answer reaches the node and not its containers; Kiam's SDK reads without a token then.
    if (!outcome.ok && outcome.reason === 'timed out' && this.#readsWithoutToken) {
      return this.#hold(undefined, WITHOUT_TOKEN_MS, { isUnanswered: true });
    }
    if (!outcome.ok) return outcome;
    const { status, headers, body } = outcome.answer;
    if (status === 200) return this.#accept(body.toString('latin1'), headers[TOKEN_TTL_HEADER]);
    // What SDKs take for "version 1 only"; the read that follows shows whether it is.
    if (status === 403 || status === 404 || status === 405) return this.#hold(undefined, WITHOUT_TOKEN_MS);
    return metadataFailure('token refused', `the metadata service answered ${status} to the request for a token`);
  }

  #accept(value: string, ttlText: string | undefined): TokenOutcome {
    if (!/^[\x21-\x7e]{1,1024}$/.test(value)) {
      return metadataFailure('token refused', 'the metadata service answered with something that is no token');
    }
    const ttlMs = (Number(ttlText ?? TOKEN_TTL_SECONDS) || TOKEN_TTL_SECONDS) * 1000;
    return this.#hold(value, Math.max(ttlMs - RENEW_BEFORE_MS, ttlMs / 2));
  }

  #hold(value: string | undefined, lifeMs: number, { isUnanswered } = { isUnanswered: false }): TokenOutcome {
    const token = { ok: true, value, isUnanswered } as const;
    this.#held = { token, untilMs: this.#clock.monotonic() + lifeMs };
    return token;
  }
}
