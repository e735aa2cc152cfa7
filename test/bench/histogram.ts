/** Latencies in two grids: steps of 1 us up to 20 ms, steps of 100 us up to 10 s. Its size does not depend on how many there are. */
export class Histogram {
  readonly #fine = new Uint32Array(FINE_STEPS);
  readonly #coarse = new Uint32Array(COARSE_STEPS);
  #count = 0;
  #maxMs = 0;

  add(latencyMs: number): void {
    this.#count += 1;
    if (latencyMs > this.#maxMs) this.#maxMs = latencyMs;
    const fine = Math.floor(latencyMs * 1000);
    if (fine < FINE_STEPS) {
      this.#fine[fine] = (this.#fine[fine] ?? 0) + 1;
      return;
    }
    const coarse = Math.min(COARSE_STEPS - 1, Math.floor(latencyMs * 10));
    this.#coarse[coarse] = (this.#coarse[coarse] ?? 0) + 1;
  }

  summary(): Latency {
    return { count: this.#count, p50Ms: this.#at(0.5), p99Ms: this.#at(0.99), maxMs: this.#maxMs };
  }

  #at(share: number): number {
    const wanted = Math.ceil(this.#count * share);
    let seen = 0;
    for (const [step, count] of this.#fine.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return (step + 1) / 1000;
    }
    for (const [step, count] of this.#coarse.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return (step + 1) / 10;
    }
    return this.#maxMs;
  }
}

export interface Latency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const FINE_STEPS = 20_000;
const COARSE_STEPS = 100_000;
