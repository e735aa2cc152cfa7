/** Starts the work of a key, or joins it where it is in progress already; `isFirst` says which. */
export type SingleFlight<T> = (
  key: string,
  start: () => Promise<T>,
) => { readonly isFirst: boolean; readonly result: Promise<T> };

/** Concurrent callers with the same key share one call. Nothing is kept of calls that have ended. */
export function createSingleFlight<T>(): SingleFlight<T> {
  const underWay = new Map<string, Promise<T>>();
  return (key, start) => {
    const present = underWay.get(key);
    if (present !== undefined) return { isFirst: false, result: present };
    const result = start().finally(() => underWay.delete(key));
    underWay.set(key, result);
    return { isFirst: true, result };
  };
}
