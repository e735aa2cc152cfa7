/** Runs `start` for a key once for all callers that come before it begins. */
export type NextFlight<T> = (key: string, start: () => Promise<T>) => Promise<T>;

/**
 * Callers share a run that starts after they called, one at a time for each key: a caller that comes during a run shares the
 * next one, because the present one may have read an older state. `start` must settle by itself.
 */
export function createNextFlight<T>(): NextFlight<T> {
  const underWay = new Map<string, Promise<T>>();
  const next = new Map<string, Promise<T>>();
  return (key, start) => {
    const begin = (): Promise<T> => {
      next.delete(key);
      const result = start().finally(() => {
        if (underWay.get(key) === result) underWay.delete(key);
      });
      underWay.set(key, result);
      return result;
    };
    const waiting = next.get(key);
    if (waiting !== undefined) return waiting;
    const before = underWay.get(key);
    if (before === undefined) return begin();
    const following = before.then(begin, begin);
    next.set(key, following);
    return following;
  };
}
