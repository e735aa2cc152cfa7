import type { Clock } from '#runtime/clock.ts';

/**
 * For logging at each change and not in between: returns whether a state differs from the one of the call before, at first from
 * `initial`.
 */
export function oncePerChange(initial = ''): (state: string) => boolean {
  let last = initial;
  return (state) => {
    const isNews = state !== last;
    last = state;
    return isNews;
  };
}

export interface OncePerKeyOptions {
  /** How many keys are remembered; beyond them no key is new. */
  readonly most: number;
}

/** For logging something once for each key: returns whether this is the first call with the key. */
export function oncePerKey({ most }: OncePerKeyOptions): (key: string) => boolean {
  const known = new Set<string>();
  return (key) => {
    if (known.has(key) || known.size >= most) return false;
    known.add(key);
    return true;
  };
}

export interface OncePerIntervalOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  /** How many keys are remembered; beyond them the oldest is forgotten. */
  readonly most: number;
}

/** As {@link oncePerKey}, and again when the interval has passed since the last time. */
export function oncePerInterval({ clock, intervalMs, most }: OncePerIntervalOptions): (key: string) => boolean {
  const toldMs = new Map<string, number>();
  return (key) => {
    const nowMs = clock.monotonic();
    if (nowMs - (toldMs.get(key) ?? Number.NEGATIVE_INFINITY) < intervalMs) return false;
    toldMs.delete(key);
    const [oldest] = toldMs.keys();
    if (oldest !== undefined && toldMs.size >= most) toldMs.delete(oldest);
    toldMs.set(key, nowMs);
    return true;
  };
}
