import { randomBytes } from 'node:crypto';
import { ApiError, badRequest, expired } from './api-error.ts';
import { numberOf } from './request.ts';
import { apiVersionOf, type Resource } from './resources.ts';
import { parseFieldSelector, parseLabelSelector, type Selector } from './selectors.ts';
import type { Collection, Version } from './store.ts';

export interface Page {
  readonly resource: Resource;
  readonly revision: string;
  readonly continueToken: string;
  readonly remaining: number | undefined;
  readonly versions: readonly Version[];
}

interface Snapshot {
  readonly revision: string;
  readonly versions: readonly Version[];
}

const MOST_SNAPSHOTS = 64;

/** What a namespace, a name and selectors leave of a collection. */
export function selectorOf(resource: Resource, namespace: string, query: URLSearchParams): Selector {
  const fields = parseFieldSelector(resource, query.get('fieldSelector') ?? '');
  const labels = parseLabelSelector(query.get('labelSelector') ?? '');
  return (object) =>
    (namespace === '' || !resource.namespaced || object.metadata.namespace === namespace) &&
    fields(object) &&
    labels(object);
}

/**
 * Lists, page by page when `limit` is given. All pages of one list show the same moment, as those of etcd do; a continue
 * token whose moment is forgotten is answered 410: https://kubernetes.io/docs/reference/using-api/api-concepts/
 */
export class Lists {
  readonly #snapshots = new Map<string, Snapshot>();

  list(collection: Collection, latestRevision: number, namespace: string, query: URLSearchParams): Page {
    const limit = numberOf(query, 'limit') ?? 0;
    const continueToken = query.get('continue') ?? '';
    if (continueToken !== '') {
      const version = query.get('resourceVersion') ?? '';
      if (version !== '' && version !== '0')
        throw badRequest('specifying resource version is not allowed when using continue');
      return this.#next(collection.resource, continueToken, limit);
    }
    checkRevision(query, latestRevision);
    const selects = selectorOf(collection.resource, namespace, query);
    const snapshot = {
      revision: String(latestRevision),
      versions: collection.sorted().filter((version) => selects(version.object)),
    };
    return this.#page(collection.resource, snapshot, undefined, 0, limit);
  }

  /** Forgets every snapshot: continue tokens expire. */
  compact(): void {
    this.#snapshots.clear();
  }

  #next(resource: Resource, continueToken: string, limit: number): Page {
    const [, id = '', start = ''] = /^([\w-]+)\.(\d+)$/.exec(Buffer.from(continueToken, 'base64url').toString()) ?? [];
    if (id === '') throw badRequest('continue key is not valid: illegal base64 data');
    const snapshot = this.#snapshots.get(id);
    if (snapshot === undefined) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
      );
    }
    return this.#page(resource, snapshot, id, Number(start), limit);
  }

  #page(resource: Resource, snapshot: Snapshot, id: string | undefined, start: number, limit: number): Page {
    const end = limit === 0 ? snapshot.versions.length : Math.min(start + limit, snapshot.versions.length);
    const remaining = snapshot.versions.length - end;
    const versions = snapshot.versions.slice(start, end);
    const common = { resource, revision: snapshot.revision, versions };
    if (remaining === 0) return { ...common, continueToken: '', remaining: undefined };
    const key = id ?? this.#keep(snapshot);
    return { ...common, continueToken: Buffer.from(`${key}.${end}`).toString('base64url'), remaining };
  }

  #keep(snapshot: Snapshot): string {
    const id = randomBytes(9).toString('base64url');
    this.#snapshots.set(id, snapshot);
    const oldest = this.#snapshots.keys().next();
    if (this.#snapshots.size > MOST_SNAPSHOTS && oldest.done === false) this.#snapshots.delete(oldest.value);
    return id;
  }
}

/** The JSON of a page, put together from the items' own texts. */
export function pageJson({ resource, revision, continueToken, remaining, versions }: Page): string {
  const metadata = {
    resourceVersion: revision,
    ...(continueToken === '' ? {} : { continue: continueToken, remainingItemCount: remaining }),
  };
  const items = versions.map((version) => version.itemJson).join(',');
  return `{"kind":"${resource.kind}List","apiVersion":"${apiVersionOf(resource)}","metadata":${JSON.stringify(metadata)},"items":[${items}]}`;
}

function checkRevision(query: URLSearchParams, latestRevision: number): void {
  const asked = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan') {
    throw new ApiError(422, 'Invalid', `resourceVersionMatch: Unsupported value: "${match}"`);
  }
  if (match !== '' && asked === '')
    throw new ApiError(
      422,
      'Invalid',
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  if (match === 'Exact' && asked === '0')
    throw badRequest('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  if (asked === '' || asked === '0') return;
  if (!/^\d+$/.test(asked))
    throw badRequest(`Invalid value: "${asked}": strconv.ParseUint: parsing "${asked}": invalid syntax`);
  const revision = Number(asked);
  if (revision > latestRevision) {
    throw new ApiError(504, 'Timeout', `Too large resource version: ${asked}, current: ${latestRevision}`, {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    });
  }
  if (match === 'Exact' && revision < latestRevision) {
    throw expired(`The resourceVersion for the provided list is too old: ${asked} (${latestRevision})`);
  }
}
