import type { Clock } from '#runtime/clock.ts';

/** A bounded map that drops the least recently used entry first. */
export class RecentMap<V> {
  readonly #entries = new Map<string, V>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#limit) break;
      this.#entries.delete(oldest);
    }
  }
}

/** Says whether one more Event about a pod may be sent. */
export type EventLimit = (podUid: string) => boolean;

/**
 * The limits of Kubernetes' own recorder, which Kiam uses (client-go, `tools/record/events_cache.go`): 25 at once, then one in
 * five minutes for each pod. What is held back is not lost: the next Event carries the whole count.
 */
const BURST = 25;
const REFILL_MS = 300_000;
const MOST_PODS = 4096;

export function createEventLimit(clock: Clock): EventLimit {
  const buckets = new RecentMap<{ readonly tokens: number; readonly atMs: number }>(MOST_PODS);
  return (podUid) => {
    const nowMs = clock.monotonic();
    const bucket = buckets.get(podUid) ?? { tokens: BURST, atMs: nowMs };
    const tokens = Math.min(BURST, bucket.tokens + (nowMs - bucket.atMs) / REFILL_MS);
    const allowed = tokens >= 1;
    buckets.set(podUid, { tokens: allowed ? tokens - 1 : tokens, atMs: nowMs });
    return allowed;
  };
}
