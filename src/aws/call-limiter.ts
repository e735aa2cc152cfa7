import type { StsPace } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';
import { CallPace } from './call-pace.ts';
import { StsTrouble } from './sts-trouble.ts';
import type { StsCategory } from './sts.ts';

/**
 * A waiting pod goes first, then credentials that are about to expire, then those that a pod may ask for, and last a renewal
 * that is not urgent.
 */
export type Rank = 'request' | 'urgent' | 'prefetch' | 'refresh';
const RANKS = ['request', 'urgent', 'prefetch', 'refresh'] as const;

/**
 * How a call ended, as far as the account is concerned: `answered` includes a refusal, which shows that STS is available;
 * `nothing` shows neither.
 */
export type Verdict = 'answered' | 'nothing' | Extract<StsCategory, 'throttled' | 'unavailable' | 'own-credentials'>;

/** A call that has been let through. */
interface StartedCall {
  readonly key: string;
  readonly rank: Rank;
  readonly sequence: number;
}

interface WaitingCall {
  readonly key: string;
  readonly rank: Rank;
  readonly run: () => Promise<Verdict>;
}

/** The call whose turn it is, and what it still has to wait for. */
interface NextCall {
  readonly call: WaitingCall;
  readonly mostInFlight: number;
  readonly fromMs: number;
}

export interface CallLimiterOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** The most calls that start in any second; without it there is no such limit. */
  readonly callsPerSecond?: number;
  /** The most calls in flight when STS is well. */
  readonly mostInFlight?: number;
  /** The most refreshes in flight among them. */
  readonly mostRefreshesInFlight?: number;
}

/** The most calls to STS in flight. */
export const MOST_IN_FLIGHT = 128;

/** Under throttling the pace limits calls; with fewer in flight one hanging call would delay the rest. */
const LEAST_IN_FLIGHT = 4;
const IN_FLIGHT_AFTER_TROUBLE = 8;

/**
 * Decides when the calls to STS of one account may start. It keeps at most one waiting call per key, in the order of their
 * ranks; it owns no result. Three things hold a call back: the number in flight, which falls when STS throttles or fails and
 * grows by one with each answer; the pace ({@link CallPace}); and a pause while STS is unavailable, ended by one probe at a time
 * ({@link StsTrouble}).
 */
export class CallLimiter {
  readonly #clock: Clock;
  readonly #mostInFlight: number;
  readonly #mostRefreshesInFlight: number;
  readonly #pace: CallPace;
  readonly #trouble: StsTrouble;
  readonly #waiting: Readonly<Record<Rank, Map<string, WaitingCall>>> = {
    request: new Map(),
    urgent: new Map(),
    prefetch: new Map(),
    refresh: new Map(),
  };
  #limit: number;
  #inFlight = 0;
  #refreshesInFlight = 0;
  #sequence = 0;
  /** Calls up to this one had started when the limiter last slowed down; their failures are not counted again. */
  #reactedTo = 0;
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  constructor({
    clock,
    random,
    callsPerSecond = Number.POSITIVE_INFINITY,
    mostInFlight = MOST_IN_FLIGHT,
    mostRefreshesInFlight = 8,
  }: CallLimiterOptions) {
    this.#clock = clock;
    this.#mostInFlight = mostInFlight;
    this.#mostRefreshesInFlight = mostRefreshesInFlight;
    this.#limit = mostInFlight;
    this.#pace = new CallPace(clock, callsPerSecond);
    this.#trouble = new StsTrouble(clock, random);
  }

  /** Increases each time that STS answers after trouble: earlier failures may be retried. */
  get episode(): number {
    return this.#trouble.episode;
  }

  /** For the metrics and for people. */
  get state(): StsPace {
    const { intervalMs } = this.#pace;
    return {
      limit: this.#limit,
      inFlight: this.#inFlight,
      waiting: this.#waitingCount(),
      paused: this.#trouble.isOn,
      callsPerSecond: intervalMs > 0 ? 1000 / intervalMs : null,
    };
  }

  /** Calls `run` when its turn comes, perhaps at once. `run` must not reject. A key must not wait twice. */
  enqueue(key: string, rank: Rank, run: () => Promise<Verdict>): void {
    this.#waiting[rank].set(key, { key, rank, run });
    this.#pump();
  }

  /** Raises a waiting call to a rank. Does nothing when it is not waiting or has a higher rank already. */
  promote(key: string, rank: Rank): void {
    for (const lower of RANKS.slice(RANKS.indexOf(rank) + 1)) {
      const call = this.#waiting[lower].get(key);
      if (call === undefined) continue;
      this.#waiting[lower].delete(key);
      this.enqueue(key, rank, call.run);
      return;
    }
  }

  /** A call that had its turn is made once more: those that wait come later. */
  repeated(): void {
    this.#pace.started();
  }

  /** Takes a waiting call back; false when it has been started. */
  cancel(key: string): boolean {
    return RANKS.some((rank) => this.#waiting[rank].delete(key));
  }

  /** Spreads the calls that are due now over some seconds, because something other than STS made them due at once. */
  spreadBacklog(): void {
    this.#pace.spreadBacklog();
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
    if (this.#waitingCount() === 0) this.#pace.idle();
    while (!this.#closed) {
      const next = this.#next();
      if (next === undefined || this.#inFlight >= next.mostInFlight) return;
      const waitMs = next.fromMs - this.#clock.monotonic();
      if (waitMs > 0) {
        this.#cancelTimer = this.#clock.after(waitMs, () => this.#pump());
        return;
      }
      this.#start(next.call);
    }
  }

  #next(): NextCall | undefined {
    return this.#nextUnsuspected() ?? this.#nextByRank();
  }

  /** During trouble a pod whose own role has not failed is delayed neither by pods whose roles have nor by a probe. */
  #nextUnsuspected(): NextCall | undefined {
    if (!this.#trouble.isOn || this.#inFlight > this.#limit) return undefined;
    for (const call of this.#waiting.request.values()) {
      if (this.#trouble.isSuspect(call.key)) continue;
      const fromMs = Math.max(this.#trouble.unsuspectedFromMs, this.#pace.nextStartMs);
      return { call, mostInFlight: this.#limit + 1, fromMs };
    }
    return undefined;
  }

  #nextByRank(): NextCall | undefined {
    for (const rank of RANKS) {
      if (rank === 'refresh' && this.#refreshesInFlight >= this.#mostRefreshesInFlight) continue;
      for (const call of this.#waiting[rank].values()) {
        const fromMs = Math.max(this.#trouble.probeFromMs(rank === 'request'), this.#pace.nextStartMs);
        return { call, mostInFlight: this.#limit, fromMs };
      }
    }
    return undefined;
  }

  #start({ key, rank, run }: WaitingCall): void {
    this.#waiting[rank].delete(key);
    this.#sequence += 1;
    const started = { key, rank, sequence: this.#sequence };
    this.#inFlight += 1;
    if (rank === 'refresh') this.#refreshesInFlight += 1;
    this.#pace.started();
    this.#trouble.started();
    void run().then((verdict) => this.#finish(started, verdict));
  }

  #finish(call: StartedCall, verdict: Verdict): void {
    this.#inFlight -= 1;
    if (call.rank === 'refresh') this.#refreshesInFlight -= 1;
    if (verdict === 'answered') this.#onAnswer();
    else if (verdict === 'throttled') this.#onThrottled(call);
    else if (verdict !== 'nothing') this.#onFailure(call, verdict === 'own-credentials');
    this.#pump();
  }

  #onAnswer(): void {
    this.#limit = Math.min(this.#mostInFlight, this.#limit + 1);
    this.#endTrouble();
    this.#pace.answered(this.#waitingCount() === 0);
  }

  #onThrottled(call: StartedCall): void {
    // Throttling shows that STS is available.
    this.#endTrouble();
    if (!this.#isNews(call)) return;
    this.#limit = Math.max(LEAST_IN_FLIGHT, Math.floor(Math.min(this.#limit, this.#inFlight + 1) / 2));
    this.#pace.throttled();
  }

  #onFailure(call: StartedCall, isAccountWide: boolean): void {
    if (!this.#trouble.suspect(call.key, isAccountWide) || !this.#isNews(call)) return;
    this.#limit = 1;
    this.#trouble.pause();
  }

  #endTrouble(): void {
    if (!this.#trouble.answered()) return;
    this.#limit = Math.max(this.#limit, IN_FLIGHT_AFTER_TROUBLE);
    this.#pace.spreadBacklog();
  }

  /** Whether the limiter has not slowed down since the call started. Those that started together fail together. */
  #isNews(call: StartedCall): boolean {
    if (call.sequence <= this.#reactedTo) return false;
    this.#reactedTo = this.#sequence;
    return true;
  }

  #waitingCount(): number {
    return RANKS.reduce((count, rank) => count + this.#waiting[rank].size, 0);
  }
}
