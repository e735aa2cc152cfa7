import type { Clock } from '#runtime/clock.ts';

/** 50 calls a second until the backlog is gone: after trouble all delayed calls are due at once. */
const BACKLOG_INTERVAL_MS = 20;
const SHORTEST_BACKLOG_MS = 5000;

/**
 * The pace under throttling: half as slow again with each new throttled call, 2 % faster with each answered one, so that in the
 * long run one call in twenty or so finds out whether STS would take more. After thirty answers in a row the limit has gone, and
 * the pace with it.
 */
const FIRST_THROTTLED_INTERVAL_MS = 100;
const LONGEST_INTERVAL_MS = 60_000;
const ANSWERS_BEFORE_EASING = 30;
const EASING = 0.98;

/**
 * When every call is throttled for a while that says nothing about a rate: the pace is halved down to a bound, and the first
 * answers undo most of that.
 */
const LONGEST_INTERVAL_IN_RUN_MS = 30_000;
const EASING_AFTER_RUN = 0.25;
const EASING_WHEN_OVER = 0.8;

/**
 * A call that starts late because the process was busy leaves room for the next, so much of it at most. With calls as much
 * further apart as that, no second has more than the rate allows.
 */
const LATENESS_MS = 50;

/** How far apart calls start: by the most that is allowed, by what STS takes while it throttles, and evenly after trouble. */
export class CallPace {
  readonly #clock: Clock;
  readonly #spacingMs: number;
  /** Before this moment the rate allows no further call. */
  #dueMs = Number.NEGATIVE_INFINITY;
  #reason: 'none' | 'backlog' | 'throttled' = 'none';
  #intervalMs = 0;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #backlogUntilMs = 0;
  /** The interval at which the present run of throttled calls began; what the run added may be undone. */
  #undoubtedIntervalMs = 0;
  #throttledInRow = 0;
  #answeredInRow = 0;

  /** `callsPerSecond` is the most in any second. */
  constructor(clock: Clock, callsPerSecond: number) {
    this.#clock = clock;
    this.#spacingMs = (1000 + LATENESS_MS) / callsPerSecond;
  }

  /** The next call may start then, by the monotonic clock. */
  get nextStartMs(): number {
    return Math.max(this.#lastStartMs + this.#intervalMs, this.#dueMs);
  }

  /** How far apart calls start now, in milliseconds; 0 when nothing holds them apart. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  started(): void {
    this.#lastStartMs = this.#clock.monotonic();
    this.#dueMs = Math.max(this.#dueMs, this.#lastStartMs - LATENESS_MS) + this.#spacingMs;
  }

  /** `isIdle`: no call waits. */
  answered(isIdle: boolean): void {
    this.#throttledInRow = 0;
    this.#answeredInRow += 1;
    if (this.#reason !== 'throttled') return;
    this.#intervalMs = this.#easedIntervalMs(isIdle);
    if (this.#intervalMs <= BACKLOG_INTERVAL_MS) this.#endThrottling();
  }

  throttled(): void {
    this.#throttledInRow += 1;
    this.#answeredInRow = 0;
    this.#set('throttled', this.#slowerIntervalMs());
    if (this.#throttledInRow === 1) this.#undoubtedIntervalMs = this.#intervalMs;
    this.#lastStartMs = this.#clock.monotonic();
  }

  /** Spreads the calls that are due now over some seconds. */
  spreadBacklog(): void {
    this.#backlogUntilMs = this.#clock.monotonic() + SHORTEST_BACKLOG_MS;
    if (this.#reason === 'none') this.#set('backlog', BACKLOG_INTERVAL_MS);
  }

  /** No call waits. What is due is found within seconds, so the first such moment does not end the backlog. */
  idle(): void {
    if (this.#reason === 'backlog' && this.#clock.monotonic() >= this.#backlogUntilMs) this.#set('none', 0);
  }

  #slowerIntervalMs(): number {
    if (this.#throttledInRow > 1)
      return Math.max(this.#intervalMs, Math.min(this.#intervalMs * 2, LONGEST_INTERVAL_IN_RUN_MS));
    return Math.max(FIRST_THROTTLED_INTERVAL_MS, Math.min(this.#intervalMs * 1.5, LONGEST_INTERVAL_MS));
  }

  /** Calls that had to wait meanwhile are spread out. */
  #endThrottling(): void {
    this.#set('none', 0);
    this.spreadBacklog();
  }

  #easedIntervalMs(isIdle: boolean): number {
    // When nobody waits, the pace is not what holds calls back and there is little to learn from keeping it.
    if (isIdle || this.#answeredInRow > ANSWERS_BEFORE_EASING) return this.#intervalMs * EASING_WHEN_OVER;
    if (this.#intervalMs <= this.#undoubtedIntervalMs) return this.#intervalMs * EASING;
    return Math.max(this.#undoubtedIntervalMs, this.#intervalMs * EASING_AFTER_RUN);
  }

  #set(reason: 'none' | 'backlog' | 'throttled', intervalMs: number): void {
    this.#reason = reason;
    this.#intervalMs = intervalMs;
  }
}
