import type { CacheEntry } from './cache-entry.ts';

/** Some 3 KiB each. A pod whose credentials were dropped costs one more call to STS. */
const MOST_UNUSED = 10_000;

/**
 * The entries that no pod needs at present, the longest unused first. They are kept for a pod that comes back, such as the next
 * run of a CronJob or a StatefulSet's next pod, and are bounded because pods with ever new roles would fill the memory.
 */
export class UnusedEntries {
  readonly #entries = new Map<string, CacheEntry>();
  readonly #most: number;

  constructor(most = MOST_UNUSED) {
    this.#most = most;
  }

  /** Adds an entry that has just lost its last pod, and returns one that has to go for it. */
  add(entry: CacheEntry): CacheEntry | undefined {
    if (this.#entries.has(entry.key)) return undefined;
    this.#entries.set(entry.key, entry);
    const oldest = this.#entries.values().next();
    if (this.#entries.size <= this.#most || oldest.done === true) return undefined;
    this.#entries.delete(oldest.value.key);
    return oldest.value;
  }

  /** Takes an entry out: a pod needs it again, or it is gone. */
  delete(key: string): void {
    this.#entries.delete(key);
  }
}
