import type { Clock } from '#runtime/clock.ts';

interface Timer {
  readonly atMs: number;
  readonly task: () => void;
}

/** A clock that stands still until a test moves it; timers fire in order, and promises settle between two of them. */
export class ManualClock implements Clock {
  #monotonicMs = 0;
  #wallMs: number;
  readonly #timers = new Set<Timer>();

  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallMs = startMs;
  }

  now(): number {
    return this.#wallMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + Math.max(0, delayMs), task };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves the wall clock alone, as an administrator or NTP would. */
  jumpWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  /** Lets time pass: every timer that falls due runs at its own moment. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#monotonicMs + byMs;
    await settle();
    for (let timer = this.#nextDue(endMs); timer !== undefined; timer = this.#nextDue(endMs)) {
      this.#moveTo(timer.atMs);
      this.#timers.delete(timer);
      timer.task();
      await settle();
    }
    this.#moveTo(endMs);
    await settle();
  }

  #moveTo(monotonicMs: number): void {
    const byMs = Math.max(0, monotonicMs - this.#monotonicMs);
    this.#monotonicMs += byMs;
    this.#wallMs += byMs;
  }

  #nextDue(endMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs <= endMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }
}

/** Lets every promise that is ready run its course. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
