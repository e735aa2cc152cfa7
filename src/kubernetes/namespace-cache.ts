import type { NamespaceRecord } from '#domain/namespace.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ListWatchTarget } from './list-watch.ts';
import { NamedCache } from './named-cache.ts';
import { namespacesDiffer, type StoredNamespace } from './namespace-record.ts';
import type { ObjectChange } from './object-store.ts';

/** The namespaces of the cluster as the API server last told them. */
export class NamespaceCache {
  readonly #cache: NamedCache<StoredNamespace>;

  constructor({ logger }: { readonly logger: Logger }) {
    this.#cache = new NamedCache<StoredNamespace>({ logger, resource: 'namespaces', differ: namespacesDiffer });
  }

  get(name: string): NamespaceRecord | undefined {
    return this.#cache.get('', name);
  }

  all(): Iterable<NamespaceRecord> {
    return this.#cache.all();
  }

  /** Calls `listener` after the cache holds the change; changes of the resource version alone are not told. */
  subscribe(listener: (change: ObjectChange<NamespaceRecord>) => void): () => void {
    return this.#cache.subscribe(listener);
  }

  /** Where the list and the watch of namespaces put what they bring. */
  get target(): ListWatchTarget<StoredNamespace> {
    return this.#cache.target;
  }
}
