import type { NamespaceRecord } from '#domain/namespace.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ListWatchTarget } from './list-watch.ts';
import { NamedCache } from './named-cache.ts';
import { namespacesDiffer, type StoredNamespace } from './namespace-record.ts';
import type { ObjectChange } from './object-store.ts';

/** The namespaces of the cluster as last received from the API server. */
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

  /** Calls `listener` after the cache holds the change; not for changes of the resource version alone. */
  subscribe(listener: (change: ObjectChange<NamespaceRecord>) => void): () => void {
    return this.#cache.subscribe(listener);
  }

  /** Receives what the list and the watch of namespaces deliver. */
  get target(): ListWatchTarget<StoredNamespace> {
    return this.#cache.target;
  }
}
