import type { Clock } from '#runtime/clock.ts';
import { sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';

import type { KiamClient } from './client.ts';

export interface ServerMonitorOptions {
  readonly client: Pick<KiamClient, 'call'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a server may take to answer before it counts as away, in milliseconds. */
  readonly limitMs: number;
}

const INTERVAL_MS = { well: 10_000, away: 1000 };

/**
 * Checks whether a server answers, for the readiness report, and logs when that changes. Requests of pods do not
 * wait for it: each finds out for itself.
 */
export class ServerMonitor {
  readonly #options: ServerMonitorOptions;
  #problem: string | undefined = 'no server has answered yet';
  readonly #isNews = oncePerChange();

  constructor(options: ServerMonitorOptions) {
    this.#options = options;
  }

  /** Why no server answers; undefined while one does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Asks from time to time until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, limitMs } = this.#options;
    while (!signal.aborted) {
      const answer = await client.call('GetHealth', {}, { timeoutMs: limitMs, signal });
      if (signal.aborted) return;
      if (answer.ok) this.#well();
      else this.#away(answer.details);
      await sleep(clock, this.#problem === undefined ? INTERVAL_MS.well : INTERVAL_MS.away, signal);
    }
  }

  #well(): void {
    this.#problem = undefined;
    if (this.#isNews('well')) this.#options.logger.info('a server answers');
  }

  #away(cause: string): void {
    this.#problem = `no server answers: ${cause}`;
    if (this.#isNews('away')) this.#options.logger.warn('no server answers; retrying', { error: cause });
  }
}
