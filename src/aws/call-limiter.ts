import type { Backoff } from '#runtime/backoff.ts';
import { createBackoff } from '#runtime/backoff.ts';
import type { Clock } from '#runtime/clock.ts';
import type { StsCategory } from './sts.ts';

/**
 * A pod that waits goes first, then what is about to end, then what may be asked for, and last a refresh for which there is time.
 */
export type Rank = 'request' | 'urgent' | 'prefetch' | 'refresh';
const RANKS = ['request', 'urgent', 'prefetch', 'refresh'] as const;

/** How a call ended, as far as the account is concerned: `answered` includes a refusal, for STS was there to refuse. */
export type Verdict = 'answered' | Extract<StsCategory, 'throttled' | 'unavailable' | 'own-credentials'>;

/** A call that has been let through. */
interface StartedCall {
  readonly key: string;
  readonly rank: Rank;
  readonly sequence: number;
}

interface WaitingCall {
  readonly key: string;
  readonly run: () => Promise<Verdict>;
}

export interface CallLimiterOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** The most calls in flight when STS is well. */
  readonly mostInFlight?: number;
  /** The most refreshes in flight among them. */
  readonly mostRefreshesInFlight?: number;
}

/** Trouble is probed after 1 s, 2 s, ... 30 s, but after 5 s at the latest where a pod waits. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_FOR_REQUESTS_MS = 5000;

/** 50 calls a second until the backlog is gone: after trouble all those that missed their turn are due at once. */
const BACKLOG_INTERVAL_MS = 20;
const SHORTEST_BACKLOG_MS = 5000;

/**
 * The pace under throttling: half as slow again with each new throttled call, 2 % faster with each answered one, so that in the
 * long run one call in twenty or so finds out whether STS would take more. After thirty answers in a row the limit has gone, and the
 * pace with it.
 */
const FIRST_THROTTLED_INTERVAL_MS = 100;
const LONGEST_INTERVAL_MS = 60_000;
const EASED_INTERVAL_MS = 5;
const ANSWERS_BEFORE_EASING = 30;

/**
 * Decides when the calls to STS of one account may start. It keeps at most one waiting call per key, in the order of their
 * ranks; it owns no result. Three things hold a call back:
 * - the number in flight, which falls when STS throttles or fails and grows by one with each answer;
 * - the pace, set by throttling and after trouble;
 * - a pause while STS is unavailable, ended by one probe at a time. A single key's failures do not start it: that may be one
 *   role's own trouble, and must not be felt by the others.
 */
export class CallLimiter {
  readonly #clock: Clock;
  readonly #mostInFlight: number;
  readonly #mostRefreshesInFlight: number;
  readonly #waiting: Readonly<Record<Rank, Map<string, WaitingCall>>> = {
    request: new Map(),
    urgent: new Map(),
    prefetch: new Map(),
    refresh: new Map(),
  };
  readonly #pauses: Backoff;
  /** Keys that failed since STS last answered. */
  readonly #suspects = new Set<string>();
  #limit: number;
  #inFlight = 0;
  #refreshesInFlight = 0;
  #sequence = 0;
  /** Calls up to this one had started when the limiter last slowed down: their failures are no news. */
  #reactedTo = 0;
  #troubled = false;
  #pausedUntilMs = 0;
  #requestsPausedUntilMs = 0;
  #pace: 'none' | 'backlog' | 'throttled' = 'none';
  #intervalMs = 0;
  #nextStartMs = 0;
  #backlogUntilMs = 0;
  #throttledInRow = 0;
  #answeredInRow = 0;
  #episode = 0;
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  constructor({ clock, random, mostInFlight = 128, mostRefreshesInFlight = 8 }: CallLimiterOptions) {
    this.#clock = clock;
    this.#mostInFlight = mostInFlight;
    this.#mostRefreshesInFlight = mostRefreshesInFlight;
    this.#limit = mostInFlight;
    this.#pauses = createBackoff({ firstMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS, random });
  }

  /** Grows each time that STS answers after trouble: what failed before may be tried again. */
  get episode(): number {
    return this.#episode;
  }

  /** For the metrics. */
  get state(): {
    readonly limit: number;
    readonly inFlight: number;
    readonly waiting: number;
    readonly paused: boolean;
  } {
    return { limit: this.#limit, inFlight: this.#inFlight, waiting: this.#waitingCount(), paused: this.#troubled };
  }

  /** Calls `run` when its turn comes, perhaps at once. `run` must not reject. A key must not wait twice. */
  enqueue(key: string, rank: Rank, run: () => Promise<Verdict>): void {
    this.#waiting[rank].set(key, { key, run });
    this.#pump();
  }

  /** Moves a waiting call up to a rank. Does nothing when it does not wait or stands higher already. */
  promote(key: string, rank: Rank): void {
    for (const lower of RANKS.slice(RANKS.indexOf(rank) + 1)) {
      const call = this.#waiting[lower].get(key);
      if (call === undefined) continue;
      this.#waiting[lower].delete(key);
      this.enqueue(key, rank, call.run);
      return;
    }
  }

  /** Takes a waiting call back; false when it has been started. */
  cancel(key: string): boolean {
    return RANKS.some((rank) => this.#waiting[rank].delete(key));
  }

  /** Spreads what is due now over some seconds, because something other than STS made it due at once. */
  spreadBacklog(): void {
    this.#backlogUntilMs = this.#clock.monotonic() + SHORTEST_BACKLOG_MS;
    if (this.#pace === 'none') this.#setPace('backlog', BACKLOG_INTERVAL_MS);
  }

  /** Starts no further call. */
  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    for (const rank of RANKS) this.#waiting[rank].clear();
  }

  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    while (!this.#closed && this.#inFlight < this.#limit) {
      const next = this.#next();
      if (next === undefined) {
        if (this.#pace === 'backlog' && this.#isBacklogGone()) this.#setPace('none', 0);
        return;
      }
      const waitMs = this.#waitMs(next.rank);
      if (waitMs > 0) {
        this.#cancelTimer = this.#clock.after(waitMs, () => this.#pump());
        return;
      }
      this.#start(next.call, next.rank);
    }
  }

  #next(): { readonly call: WaitingCall; readonly rank: Rank } | undefined {
    for (const rank of RANKS) {
      if (rank === 'refresh' && this.#refreshesInFlight >= this.#mostRefreshesInFlight) continue;
      for (const call of this.#waiting[rank].values()) return { call, rank };
    }
    return undefined;
  }

  #waitMs(rank: Rank): number {
    const pausedUntilMs = rank === 'request' ? this.#requestsPausedUntilMs : this.#pausedUntilMs;
    return Math.max(pausedUntilMs, this.#nextStartMs) - this.#clock.monotonic();
  }

  #start(call: WaitingCall, rank: Rank): void {
    this.#waiting[rank].delete(call.key);
    this.#sequence += 1;
    const started = { key: call.key, rank, sequence: this.#sequence };
    this.#inFlight += 1;
    if (rank === 'refresh') this.#refreshesInFlight += 1;
    this.#nextStartMs = this.#intervalMs === 0 ? 0 : this.#clock.monotonic() + this.#intervalMs;
    void call.run().then((verdict) => this.#finish(started, verdict));
  }

  #finish(call: StartedCall, verdict: Verdict): void {
    this.#inFlight -= 1;
    if (call.rank === 'refresh') this.#refreshesInFlight -= 1;
    if (verdict === 'answered') this.#onAnswer();
    else if (verdict === 'throttled') this.#onThrottled(call);
    else this.#onTrouble(call, verdict);
    this.#pump();
  }

  #onAnswer(): void {
    this.#suspects.clear();
    this.#throttledInRow = 0;
    this.#answeredInRow += 1;
    this.#limit = Math.min(this.#mostInFlight, this.#limit + 1);
    if (this.#troubled) this.#endTrouble();
    if (this.#pace !== 'throttled') return;
    // When nobody waits, the pace is not what holds calls back and there is little to learn from keeping it.
    const isOver = this.#answeredInRow > ANSWERS_BEFORE_EASING || this.#waitingCount() === 0;
    this.#intervalMs *= isOver ? 0.8 : 0.98;
    if (this.#intervalMs < EASED_INTERVAL_MS) this.#setPace('none', 0);
  }

  #endTrouble(): void {
    this.#troubled = false;
    this.#episode += 1;
    this.#pausedUntilMs = 0;
    this.#requestsPausedUntilMs = 0;
    this.#pauses.reset();
    this.spreadBacklog();
  }

  #onThrottled(call: StartedCall): void {
    // Whoever throttles is there.
    this.#suspects.clear();
    if (this.#troubled) this.#endTrouble();
    if (call.sequence <= this.#reactedTo) return;
    this.#reactedTo = this.#sequence;
    this.#throttledInRow += 1;
    this.#answeredInRow = 0;
    const factor = this.#throttledInRow > 1 ? 2 : 1.5;
    this.#limit = Math.max(1, Math.floor(Math.min(this.#limit, this.#inFlight + 1) / 2));
    this.#setPace(
      'throttled',
      Math.min(LONGEST_INTERVAL_MS, Math.max(FIRST_THROTTLED_INTERVAL_MS, this.#intervalMs * factor)),
    );
    this.#nextStartMs = this.#clock.monotonic() + this.#intervalMs;
  }

  #onTrouble(call: StartedCall, verdict: 'unavailable' | 'own-credentials'): void {
    this.#suspects.add(call.key);
    const isAccountWide = this.#troubled || this.#suspects.size > 1 || verdict === 'own-credentials';
    if (!isAccountWide || call.sequence <= this.#reactedTo) return;
    this.#reactedTo = this.#sequence;
    this.#troubled = true;
    this.#limit = 1;
    const nowMs = this.#clock.monotonic();
    const pauseMs = this.#pauses.nextMs();
    this.#pausedUntilMs = nowMs + pauseMs;
    this.#requestsPausedUntilMs = nowMs + Math.min(pauseMs, LONGEST_PAUSE_FOR_REQUESTS_MS);
  }

  #setPace(pace: 'none' | 'backlog' | 'throttled', intervalMs: number): void {
    this.#pace = pace;
    this.#intervalMs = intervalMs;
    if (intervalMs === 0) this.#nextStartMs = 0;
  }

  /** Not with the first moment in which nobody waits: what is due is found within seconds, not at once. */
  #isBacklogGone(): boolean {
    return this.#waitingCount() === 0 && this.#clock.monotonic() >= this.#backlogUntilMs;
  }

  #waitingCount(): number {
    return RANKS.reduce((count, rank) => count + this.#waiting[rank].size, 0);
  }
}
