import type { Clock } from '#runtime/clock.ts';
import type { Collection } from './store.ts';

/** How far the watches of one resource may see: everything at once, later, or not until it is let go. */
export class Delivery {
  readonly #clock: Clock;
  readonly #collection: Collection;
  readonly #listeners = new Set<() => void>();
  #visibleEnd: number;
  #delayMs = 0;
  #held = false;

  constructor(clock: Clock, collection: Collection) {
    this.#clock = clock;
    this.#collection = collection;
    this.#visibleEnd = collection.end;
    collection.subscribe(() => this.#onChange());
  }

  /** Changes at places before this one may be sent. */
  get visibleEnd(): number {
    return this.#visibleEnd;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Sends nothing more until {@link release}; lists still show everything. */
  hold(): void {
    this.#held = true;
  }

  /** Sends what was held back, at once and in order. */
  release(): void {
    this.#held = false;
    this.#show(this.#collection.end);
  }

  /** Every change from now on is sent so much later. */
  delay(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #onChange(): void {
    const { end } = this.#collection;
    if (this.#delayMs === 0) this.#show(end);
    else this.#clock.after(this.#delayMs, () => this.#show(end));
  }

  #show(end: number): void {
    if (this.#held || end <= this.#visibleEnd) return;
    this.#visibleEnd = end;
    for (const listener of this.#listeners) listener();
  }
}
