import type { Backoff } from '#runtime/backoff.ts';
import { createBackoff } from '#runtime/backoff.ts';
import type { Clock } from '#runtime/clock.ts';

/** Trouble is probed after 1 s, 2 s, ... 30 s, but after 5 s at the latest where a pod waits. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_FOR_REQUESTS_MS = 5000;

/** A pod whose own role has not failed waits this long at most for its try. */
const UNSUSPECTED_INTERVAL_MS = 1000;

/**
 * Whether STS as a whole is unavailable, and when it may be probed. Failures of a single key do not show it, because they may
 * concern one role. Failures of two keys in a row do, until any answer.
 */
export class StsTrouble {
  readonly #clock: Clock;
  readonly #pauses: Backoff;
  /** Keys that failed since STS last answered. */
  readonly #suspects = new Set<string>();
  #isOn = false;
  #episode = 0;
  #pausedUntilMs = 0;
  #requestsPausedUntilMs = 0;
  #unsuspectedFromMs = 0;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#pauses = createBackoff({ firstMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS, random });
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Increases each time that trouble ends: earlier failures may be retried. */
  get episode(): number {
    return this.#episode;
  }

  isSuspect(key: string): boolean {
    return this.#suspects.has(key);
  }

  /** When the next probe may start, by the monotonic clock; in the past when there is no trouble. */
  probeFromMs(isRequest: boolean): number {
    return isRequest ? this.#requestsPausedUntilMs : this.#pausedUntilMs;
  }

  /** When the request of a key that is no suspect may start. */
  get unsuspectedFromMs(): number {
    return this.#unsuspectedFromMs;
  }

  started(): void {
    if (this.#isOn) this.#unsuspectedFromMs = this.#clock.monotonic() + UNSUSPECTED_INTERVAL_MS;
  }

  /** Notes a failure; true when the account as a whole is in trouble. */
  suspect(key: string, isAccountWide: boolean): boolean {
    this.#suspects.add(key);
    return this.#isOn || isAccountWide || this.#suspects.size > 1;
  }

  /** Holds calls back, longer each time. */
  pause(): void {
    this.#isOn = true;
    const nowMs = this.#clock.monotonic();
    const pauseMs = this.#pauses.nextMs();
    this.#pausedUntilMs = nowMs + pauseMs;
    this.#requestsPausedUntilMs = nowMs + Math.min(pauseMs, LONGEST_PAUSE_FOR_REQUESTS_MS);
  }

  /** STS gave any answer; true when that ends the trouble. */
  answered(): boolean {
    this.#suspects.clear();
    if (!this.#isOn) return false;
    this.#isOn = false;
    this.#episode += 1;
    this.#pausedUntilMs = 0;
    this.#requestsPausedUntilMs = 0;
    this.#pauses.reset();
    return true;
  }
}
