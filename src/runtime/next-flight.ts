/** Has `start` run for a key, for everybody who asks before it has begun. */
export type NextFlight<T> = (key: string, start: () => Promise<T>) => Promise<T>;

/**
 * Lets callers share what is started for them after they came, one at a time for each key: whoever comes while it is in progress
 * shares the next, for the one in progress may know less than it has to. `start` must settle by itself.
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
