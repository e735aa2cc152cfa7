import type { Clock } from '#runtime/clock.ts';

/** 50 calls a second until the backlog is gone: after trouble all those that missed their turn are due at once. */
const BACKLOG_INTERVAL_MS = 20;
const SHORTEST_BACKLOG_MS = 5000;

/**
 * The pace under throttling: half as slow again with each new throttled call, 2 % faster with each answered one, so that in the
 * long run one call in twenty or so finds out whether STS would take more. After thirty answers in a row the limit has gone, and
 * the pace with it.
 */
const FIRST_THROTTLED_INTERVAL_MS = 100;
const LONGEST_INTERVAL_MS = 60_000;
const EASED_INTERVAL_MS = 5;
const ANSWERS_BEFORE_EASING = 30;
const EASING = 0.98;
const EASING_WHEN_OVER = 0.8;

/** How far apart calls start: not at all as a rule, by what STS takes while it throttles, and evenly after trouble. */
export class CallPace {
  readonly #clock: Clock;
  #reason: 'none' | 'backlog' | 'throttled' = 'none';
  #intervalMs = 0;
  #nextStartMs = 0;
  #backlogUntilMs = 0;
  #throttledInRow = 0;
  #answeredInRow = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next call may start then, by the monotonic clock. */
  get nextStartMs(): number {
    return this.#nextStartMs;
  }

  started(): void {
    if (this.#intervalMs > 0) this.#nextStartMs = this.#clock.monotonic() + this.#intervalMs;
  }

  /** `isIdle`: no call waits. */
  answered(isIdle: boolean): void {
    this.#throttledInRow = 0;
    this.#answeredInRow += 1;
    if (this.#reason !== 'throttled') return;
    // When nobody waits, the pace is not what holds calls back and there is little to learn from keeping it.
    this.#intervalMs *= isIdle || this.#answeredInRow > ANSWERS_BEFORE_EASING ? EASING_WHEN_OVER : EASING;
    if (this.#intervalMs < EASED_INTERVAL_MS) this.#set('none', 0);
  }

  throttled(): void {
    this.#throttledInRow += 1;
    this.#answeredInRow = 0;
    const slowerMs = this.#intervalMs * (this.#throttledInRow > 1 ? 2 : 1.5);
    this.#set('throttled', Math.min(LONGEST_INTERVAL_MS, Math.max(FIRST_THROTTLED_INTERVAL_MS, slowerMs)));
    this.started();
  }

  /** Spreads what is due now over some seconds. */
  spreadBacklog(): void {
    this.#backlogUntilMs = this.#clock.monotonic() + SHORTEST_BACKLOG_MS;
    if (this.#reason === 'none') this.#set('backlog', BACKLOG_INTERVAL_MS);
  }

  /** No call waits. What is due is found within seconds, so the first such moment does not end the backlog. */
  idle(): void {
    if (this.#reason === 'backlog' && this.#clock.monotonic() >= this.#backlogUntilMs) this.#set('none', 0);
  }

  #set(reason: 'none' | 'backlog' | 'throttled', intervalMs: number): void {
    this.#reason = reason;
    this.#intervalMs = intervalMs;
    if (intervalMs === 0) this.#nextStartMs = 0;
  }
}
