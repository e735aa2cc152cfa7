import { type Observation, cannotTell, ok, wrong } from './finding.ts';

/** How far another clock is ahead of this machine's; negative when it is behind. */
export interface ClockReading {
  /** Whose clock. */
  readonly of: string;
  readonly aheadMs: number;
}

/**
 * AWS refuses what is signed over five minutes off; certificates and tokens may fail earlier. A `Date` header has whole
 * seconds.
 */
const MOST_MS = 60_000;

/** Compares this machine's clock with those of AWS and the API server. */
export function checkClock(readings: readonly ClockReading[]): Observation[] {
  if (readings.length === 0) {
    return [cannotTell('no machine answered whose clock could be compared', 'compare `date -u` with another machine')];
  }
  return readings.map(({ of, aheadMs }) => {
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    if (Math.abs(aheadMs) <= MOST_MS) return ok(`within ${seconds + 1} s of ${of}`);
    const says = `this machine’s clock is ${seconds} s ${aheadMs > 0 ? 'behind' : 'ahead of'} that of ${of}`;
    return wrong(says, 'run chronyd on the node against 169.254.169.123, the Amazon Time Sync Service');
  });
}

/** The time in a `Date` header (RFC 9110, 6.6.1), compared with ours; undefined where there is none. */
export function readClock(of: string, dateHeader: string | undefined, nowMs: number): ClockReading | undefined {
  const epochMs = Date.parse(dateHeader ?? '');
  return Number.isNaN(epochMs) ? undefined : { of, aheadMs: epochMs - nowMs };
}
