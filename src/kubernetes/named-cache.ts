import type { Logger } from '#telemetry/logger.ts';
import type { ListWatchTarget } from './list-watch.ts';
import { createListeners, type Listeners } from './listeners.ts';
import { ObjectStore, type ObjectChange, type StoredObject } from './object-store.ts';

export interface NamedCacheOptions<R> {
  readonly logger: Logger;
  /** As in the paths of the API. */
  readonly resource: string;
  /** Whether two records of one name differ in anything but the resource version. */
  readonly differ: (left: R, right: R) => boolean;
}

/** The objects of one resource as last received from the API server, by name (docs/specification.md, 6). */
export class NamedCache<R extends StoredObject> {
  readonly #store = new ObjectStore<R>();
  readonly #listeners: Listeners<R>;
  readonly #differ: (left: R, right: R) => boolean;

  constructor({ logger, resource, differ }: NamedCacheOptions<R>) {
    this.#listeners = createListeners({ logger, resource });
    this.#differ = differ;
  }

  /** `namespace` is `''` for objects that belong to none. */
  get(namespace: string, name: string): R | undefined {
    return this.#store.named(namespace, name);
  }

  all(): Iterable<R> {
    return this.#store.values();
  }

  /** Calls `listener` after the cache holds the change; not for changes of the resource version alone. */
  subscribe(listener: (change: ObjectChange<R>) => void): () => void {
    return this.#listeners.subscribe(listener);
  }

  /** Receives what the list and the watch deliver. */
  get target(): ListWatchTarget<R> {
    const store = this.#store;
    const isWorthTelling = ({ previous, current }: ObjectChange<R>): boolean =>
      previous === undefined || current === undefined || this.#differ(previous, current);
    const take = (changes: readonly ObjectChange<R>[]): boolean => {
      for (const change of changes.filter(isWorthTelling)) this.#listeners.tell(change);
      return changes.length > 0;
    };
    return {
      get size() {
        return store.size;
      },
      get: (uid) => store.get(uid),
      isDeleted: (uid) => store.isDeleted(uid),
      replace: (records) => this.#listeners.tellAll(store.replace(records).filter(isWorthTelling)),
      upsert: (record) => take(store.upsert(record)),
      remove: (uid) => take(store.remove(uid)),
    };
  }
}
