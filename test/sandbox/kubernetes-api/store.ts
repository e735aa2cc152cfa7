import { apiVersionOf, type Resource } from './resources.ts';
import { type StoredObject, toJson } from './objects.ts';

/** One version of one object, with its text made once. */
export interface Version {
  /** `namespace/name`, or `/name`. */
  readonly key: string;
  readonly revision: number;
  readonly object: StoredObject;
  /** JSON with `kind` and `apiVersion`. */
  readonly json: string;
  /** JSON without them, as the items of a list are. */
  readonly itemJson: string;
}

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly revision: number;
  readonly now: Version;
  readonly before: Version | undefined;
}

/** Hands out revisions, which only grow, over all resources: etcd has one counter too. */
export class Revisions {
  #latest: number;

  constructor(start = 1000) {
    this.#latest = start;
  }

  get latest(): number {
    return this.#latest;
  }

  next(): number {
    this.#latest += 1;
    return this.#latest;
  }
}

/** The objects of one resource, and what has happened to them recently. */
export class Collection {
  readonly resource: Resource;
  readonly #revisions: Revisions;
  readonly #window: number;
  readonly #versions = new Map<string, Version>();
  readonly #listeners = new Set<() => void>();
  readonly #objectListeners = new Map<string, Set<() => void>>();
  #changes: Change[] = [];
  /** How many changes were dropped from the front of `#changes`. */
  #dropped = 0;
  #compactedRevision: number;

  constructor(options: { resource: Resource; revisions: Revisions; window: number }) {
    this.resource = options.resource;
    this.#revisions = options.revisions;
    this.#window = options.window;
    this.#compactedRevision = options.revisions.latest;
  }

  /** A watch may start at this revision or later. */
  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** The place after the last change: {@link changeAt} counts from 0 over the whole life. */
  get end(): number {
    return this.#dropped + this.#changes.length;
  }

  get size(): number {
    return this.#versions.size;
  }

  get(namespace: string, name: string): Version | undefined {
    return this.#versions.get(keyOf(namespace, name));
  }

  /** All that there is, in the order of their keys, as etcd lists them. */
  sorted(): Version[] {
    return [...this.#versions.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
  }

  versions(): Iterable<Version> {
    return this.#versions.values();
  }

  /** Creates or replaces; the stored version has a new resourceVersion. */
  put(object: StoredObject): Version {
    const key = keyOf(object.metadata.namespace, object.metadata.name);
    const before = this.#versions.get(key);
    const version = this.#version(key, object);
    this.#versions.set(key, version);
    this.#record({
      type: before === undefined ? 'ADDED' : 'MODIFIED',
      revision: version.revision,
      now: version,
      before,
    });
    return version;
  }

  /** Deletes; the change shows the object with the revision of its deletion, as the API does. */
  remove(namespace: string, name: string): Version | undefined {
    const key = keyOf(namespace, name);
    const before = this.#versions.get(key);
    if (before === undefined) return undefined;
    this.#versions.delete(key);
    const last = this.#version(key, before.object);
    this.#record({ type: 'DELETED', revision: last.revision, now: last, before });
    return last;
  }

  /** The change at a place; undefined when it is dropped or yet to come. */
  changeAt(place: number): Change | undefined {
    return this.#changes[place - this.#dropped];
  }

  isDropped(place: number): boolean {
    return place < this.#dropped;
  }

  /** The place of the first change after a revision. */
  placeAfter(revision: number): number {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return this.#dropped + low;
  }

  /** Forgets all changes so far: whoever wants to watch from before now gets 410. */
  compact(): void {
    this.#dropped += this.#changes.length;
    this.#changes = [];
    this.#compactedRevision = this.#revisions.latest;
  }

  /** Calls back after every change. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back after every change of one object; thousands may wait for one each. */
  subscribeTo(namespace: string, name: string, listener: () => void): () => void {
    const key = keyOf(namespace, name);
    const listeners = this.#objectListeners.get(key) ?? new Set();
    this.#objectListeners.set(key, listeners.add(listener));
    return () => {
      if (listeners.delete(listener) && listeners.size === 0) this.#objectListeners.delete(key);
    };
  }

  #version(key: string, object: StoredObject): Version {
    const revision = this.#revisions.next();
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    const itemJson = JSON.stringify(toJson(stored));
    const { kind } = this.resource;
    const json = `{"kind":"${kind}","apiVersion":"${apiVersionOf(this.resource)}",${itemJson.slice(1)}`;
    return { key, revision, object: stored, json, itemJson };
  }

  #record(change: Change): void {
    this.#changes.push(change);
    if (this.#changes.length > this.#window * 2) {
      const surplus = this.#changes.length - this.#window;
      this.#compactedRevision = this.#changes[surplus - 1]?.revision ?? this.#compactedRevision;
      this.#changes = this.#changes.slice(surplus);
      this.#dropped += surplus;
    }
    for (const listener of this.#listeners) listener();
    for (const listener of this.#objectListeners.get(change.now.key) ?? []) listener();
  }
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
