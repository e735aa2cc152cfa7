import type { Clock } from './clock.ts';
import { within } from './within.ts';

export interface Closer {
  readonly name: string;
  /** The longest that the shutdown waits for it, in milliseconds. */
  readonly limitMs: number;
  close(): Promise<void> | void;
}

export interface ClosingReport {
  readonly name: string;
  readonly outcome: 'closed' | 'failed' | 'timed out';
  readonly durationMs: number;
  readonly error?: unknown;
}

/** Closes what was opened, in reverse order of construction, each part within its own limit. */
export class Shutdown {
  readonly #closers: Closer[] = [];
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  #running: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Aborts first, before any closer runs: loops and waits that take it end on their own. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  add(closer: Closer): void {
    this.#closers.push(closer);
  }

  /** Runs every closer once; a second call joins the first. Never rejects: failures are reported and the rest continues. */
  run(report: (line: ClosingReport) => void): Promise<void> {
    this.#running ??= this.#closeAll(report);
    return this.#running;
  }

  async #closeAll(report: (line: ClosingReport) => void): Promise<void> {
    this.#controller.abort();
    for (const closer of this.#closers.toReversed()) {
      const startedMs = this.#clock.monotonic();
      const result = await this.#closeOne(closer);
      report({ name: closer.name, durationMs: this.#clock.monotonic() - startedMs, ...result });
    }
  }

  async #closeOne(closer: Closer): Promise<Pick<ClosingReport, 'outcome' | 'error'>> {
    const bounds = { clock: this.#clock, limitMs: closer.limitMs };
    const close = async (): Promise<ClosingReport['outcome']> => {
      await closer.close();
      return 'closed';
    };
    try {
      return { outcome: await within(bounds, close, () => 'timed out') };
    } catch (error) {
      return { outcome: 'failed', error };
    }
  }
}
