import type { Clock } from '#runtime/clock.ts';

import type { StsMinute } from './history.ts';

const MINUTE_MS = 60_000;
const MINUTES = 60;

/** How calls to STS ended, by the minute, for the last hour: 60 records, however many calls there are. */
export class StsHistory {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #minutes = Array.from<StsMinute | undefined>({ length: MINUTES });

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  ended(outcome: 'answered' | 'failed' | 'throttled'): void {
    const minute = this.#minute();
    const known = this.#minutes[minute % MINUTES];
    const { calls, failures, throttled } = known?.minute === minute ? known : { calls: 0, failures: 0, throttled: 0 };
    this.#minutes[minute % MINUTES] = {
      minute,
      calls: calls + 1,
      failures: failures + (outcome === 'answered' ? 0 : 1),
      throttled: throttled + (outcome === 'throttled' ? 1 : 0),
    };
  }

  /** The minutes of the last hour in which calls ended, oldest first. */
  lastHour(): readonly StsMinute[] {
    const minute = this.#minute();
    return this.#minutes
      .filter((known) => known !== undefined && known.minute > minute - MINUTES && known.minute <= minute)
      .filter((known) => known !== undefined)
      .toSorted((left, right) => left.minute - right.minute);
  }

  #minute(): number {
    return Math.floor(this.#clock.now() / MINUTE_MS);
  }
}
