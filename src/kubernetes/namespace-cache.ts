import type { NamespaceRecord } from '#domain/namespace.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ListWatchTarget } from './list-watch.ts';
import { createListeners, type Listeners } from './listeners.ts';
import { namespacesDiffer, type StoredNamespace } from './namespace-record.ts';
import { ObjectStore, type ObjectChange } from './object-store.ts';

/** The namespaces of the cluster as the API server last told them, by name (docs/specification.md, 6). */
export class NamespaceCache {
  readonly #store = new ObjectStore<StoredNamespace>();
  readonly #listeners: Listeners<NamespaceRecord>;

  constructor({ logger }: { readonly logger: Logger }) {
    this.#listeners = createListeners({ logger, resource: 'namespaces' });
  }

  get(name: string): NamespaceRecord | undefined {
    return this.#store.named('', name);
  }

  /** Calls `listener` after the cache holds the change; changes of the resource version alone are not told. */
  subscribe(listener: (change: ObjectChange<NamespaceRecord>) => void): () => void {
    return this.#listeners.subscribe(listener);
  }

  /** Where the list and the watch of namespaces put what they bring. */
  get target(): ListWatchTarget<StoredNamespace> {
    const store = this.#store;
    const take = (changes: readonly ObjectChange<StoredNamespace>[]): boolean => {
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

function isWorthTelling({ previous, current }: ObjectChange<NamespaceRecord>): boolean {
  return previous === undefined || current === undefined || namespacesDiffer(previous, current);
}
