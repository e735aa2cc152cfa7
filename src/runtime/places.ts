/** Takes a place under a key; the returned function frees it. Where all are taken, the oldest holder is asked to give way. */
export type TakePlace = (key: string, giveWay: () => void) => () => void;

/** Makes `most` places for each key. `giveWay` is called once at most, and not after its holder has left. */
export function createPlaces(most: number): TakePlace {
  const holders = new Map<string, Set<() => void>>();
  return (key, giveWay) => {
    const places = holders.get(key) ?? new Set();
    holders.set(key, places);
    const holder = (): void => giveWay();
    places.add(holder);
    if (places.size > most) {
      const [oldest] = places;
      if (oldest !== undefined) places.delete(oldest);
      oldest?.();
    }
    return () => {
      places.delete(holder);
      if (places.size === 0 && holders.get(key) === places) holders.delete(key);
    };
  };
}
