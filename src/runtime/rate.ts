/** Says whether one more is within the rate of its key. `nowMs` is monotonic. */
export type Admit = (key: string, nowMs: number) => boolean;

export interface RateOptions {
  /** How many a second; 0 is no limit. */
  readonly perSecond: number;
  /** How many may come at once before the rate holds. */
  readonly burst: number;
}

/** Beyond this number the least recently used keys are forgotten; a forgotten key starts with a full burst. */
const MOST_KEYS = 4096;

/** A token bucket for each key. */
export function createRate({ perSecond, burst }: RateOptions): Admit {
  const buckets = new Map<string, { tokens: number; updatedMs: number }>();
  return (key, nowMs) => {
    if (perSecond === 0) return true;
    const bucket = buckets.get(key) ?? { tokens: burst, updatedMs: nowMs };
    buckets.delete(key);
    buckets.set(key, bucket);
    if (buckets.size > MOST_KEYS) for (const oldest of buckets.keys()) if (buckets.delete(oldest)) break;
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.updatedMs) * perSecond) / 1000);
    bucket.updatedMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  };
}
