import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';

import type { StsFailure } from './sts.ts';

/** What AWS said to a call that was signed with the server's own credentials. */
export type SignedOutcome = { readonly ok: true } | StsFailure;

export interface IdentityProofOptions {
  /** Asks AWS whose credentials the server's are. Never rejects. */
  readonly ask: (signal: AbortSignal) => Promise<SignedOutcome>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

const ASK_AGAIN = { firstMs: 500, capMs: 5000 };

/**
 * Whether AWS has accepted the server's own credentials since the server started. Any call can show it: one that succeeds, and
 * one that is denied, because AWS denies only identities that it knows
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html). Once shown, it stays shown: what
 * happens to STS later is no reason to take a server out of use that agents follow.
 */
export class IdentityProof {
  readonly #options: IdentityProofOptions;
  readonly #proven = new AbortController();
  #problem = 'AWS has not answered yet';
  readonly #isNews = oncePerChange();

  constructor(options: IdentityProofOptions) {
    this.#options = options;
  }

  /** Why the server's identity is not proven, in one line without what only logs may hold; undefined once it is. */
  get problem(): string | undefined {
    return this.#proven.signal.aborted ? undefined : this.#problem;
  }

  /** Records AWS's answer to any call of the server. */
  observe(outcome: SignedOutcome): void {
    const { logger } = this.#options;
    if (this.#proven.signal.aborted) return;
    if (outcome.ok || outcome.code.startsWith('AccessDenied')) {
      this.#proven.abort();
      logger.info("AWS accepts the server's own identity");
      return;
    }
    this.#problem = outcome.failure.message;
    if (!this.#isNews(outcome.detail)) return;
    logger.error("AWS has not accepted the server's own identity yet: the server is not ready until it does", {
      error: outcome.detail,
    });
  }

  /** Asks until the identity is proven, by these calls or others, or `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { ask, clock, random = Math.random } = this.#options;
    const backoff = createBackoff({ ...ASK_AGAIN, random });
    const end = AbortSignal.any([signal, this.#proven.signal]);
    while (!end.aborted) {
      const outcome = await ask(end);
      if (end.aborted) return;
      this.observe(outcome);
      await sleep(clock, backoff.nextMs(), end);
    }
  }
}
