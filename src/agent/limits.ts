import { LRUCache } from 'lru-cache';

export interface PodLimits {
  /** Requests of one address that may wait at the same time; 0 is no limit. */
  readonly concurrency: number;
  /** Requests of one address a second; 0 is no limit. */
  readonly ratePerSecond: number;
  /** How many may come at once before the rate holds. */
  readonly burst: number;
}

/** docs/specification.md, 2: no SDK comes near them. */
export const DEFAULT_POD_LIMITS: PodLimits = { concurrency: 16, ratePerSecond: 100, burst: 200 };

/** What one address has used. */
export interface Usage {
  waiting: number;
  tokens: number;
  updatedMs: number;
}

export interface Limits {
  /** Takes one request off the address's allowance. `nowMs` is monotonic. */
  admit(address: string, nowMs: number): Usage | 'rate' | 'concurrency';
}

/** More addresses than a node has. A forgotten one starts with a full allowance. */
const MOST_ADDRESSES = 4096;

/**
 * A token bucket and a count of waiting requests for each address, so that an eager pod affects only itself. The caller raises
 * `waiting` before it waits for an answer and lowers it afterwards.
 */
export function createLimits({ concurrency, ratePerSecond, burst }: PodLimits): Limits {
  const usages = new LRUCache<string, Usage>({ max: MOST_ADDRESSES });
  return {
    admit: (address, nowMs) => {
      let usage = usages.get(address);
      if (usage === undefined) {
        usage = { waiting: 0, tokens: burst, updatedMs: nowMs };
        usages.set(address, usage);
      }
      if (concurrency > 0 && usage.waiting >= concurrency) return 'concurrency';
      if (ratePerSecond > 0) {
        usage.tokens = Math.min(burst, usage.tokens + ((nowMs - usage.updatedMs) * ratePerSecond) / 1000);
        usage.updatedMs = nowMs;
        if (usage.tokens < 1) return 'rate';
        usage.tokens -= 1;
      }
      return usage;
    },
  };
}
