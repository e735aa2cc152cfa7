import { readFile } from 'node:fs/promises';

import { type Clock, sleep } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';

export interface AgentTokenOptions {
  /** `--agent-token-file` */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The kubelet renews a projected token when 80 % of its life is over, at the earliest after some minutes. */
const INTERVAL_MS = 30_000;

/** The projected service account token that proves which node an agent is on, as it is in its file now. */
export class AgentToken {
  readonly #options: AgentTokenOptions;
  #token = '';
  readonly #isNews = oncePerChange('read');

  constructor(options: AgentTokenOptions) {
    this.#options = options;
  }

  get current(): string {
    return this.#token;
  }

  /** Reads the file; what it held before stands when it holds no token. Never rejects. */
  async refresh(): Promise<void> {
    const { path, logger } = this.#options;
    try {
      this.#token = tokenIn(await readFile(path, 'utf8'));
      this.#isNews('read');
    } catch (error) {
      if (this.#isNews('unreadable')) logger.error('the agent token cannot be read', { error: describeError(error) });
    }
  }

  /** Reads the file from time to time until `signal` aborts. Never rejects. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#options.clock, INTERVAL_MS, signal);
      if (!signal.aborted) await this.refresh();
    }
  }
}

/** What may stand in a header (RFC 6750, 2.1); gRPC throws at anything else, and the text itself belongs in no log. */
const TOKEN = /^[\w.~+/-]+=*$/;

function tokenIn(text: string): string {
  const token = text.trim();
  if (!TOKEN.test(token)) throw new Error('the file holds no token');
  return token;
}
