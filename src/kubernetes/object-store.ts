import { compareVersions } from './resource-version.ts';

/** What tells one object from another, and one state of it from a later one. */
export interface StoredObject {
  readonly uid: string;
  /** `''` for objects that belong to no namespace. */
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
}

/** `previous` is undefined for a new object, `current` for one that is gone. */
export interface ObjectChange<R> {
  readonly previous: R | undefined;
  readonly current: R | undefined;
}

/**
 * UIDs never come back (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids); this many are
 * remembered.
 */
const TOMBSTONES = 4096;

/**
 * The objects of one kind as last received, by UID. An older state never replaces a newer one, a deleted UID stays deleted, and
 * of one name only the newest object is held: the API server never has two.
 */
export class ObjectStore<R extends StoredObject> {
  #byUid = new Map<string, R>();
  #byName = new Map<string, R>();
  readonly #deleted = new Set<string>();

  get size(): number {
    return this.#byUid.size;
  }

  get(uid: string): R | undefined {
    return this.#byUid.get(uid);
  }

  named(namespace: string, name: string): R | undefined {
    return this.#byName.get(nameKey(namespace, name));
  }

  values(): IterableIterator<R> {
    return this.#byUid.values();
  }

  /** Whether the UID was held and has been deleted recently. */
  isDeleted(uid: string): boolean {
    return this.#deleted.has(uid);
  }

  /** Takes a new state of one object. An empty result means that it was a repetition or an older state. */
  upsert(record: R): readonly ObjectChange<R>[] {
    if (this.#deleted.has(record.uid)) return [];
    const previous = this.#byUid.get(record.uid);
    if (previous !== undefined && isNotNewer(record, previous)) return [];
    const namesake = this.named(record.namespace, record.name);
    if (namesake === undefined || namesake.uid === record.uid) {
      this.#hold(record);
      return [{ previous, current: record }];
    }
    if (isNotNewer(record, namesake)) return [];
    this.remove(namesake.uid);
    this.#hold(record);
    return [
      { previous: namesake, current: undefined },
      { previous, current: record },
    ];
  }

  /** Replaces the record of an object that is held, whatever its version. Does nothing where it is not held. */
  amend(record: R): readonly ObjectChange<R>[] {
    const previous = this.#byUid.get(record.uid);
    if (previous === undefined || previous === record) return [];
    this.#hold(record);
    return [{ previous, current: record }];
  }

  /** Removes the object with this UID and no other of the same name. */
  remove(uid: string): readonly ObjectChange<R>[] {
    this.#bury(uid);
    const previous = this.#byUid.get(uid);
    if (previous === undefined) return [];
    this.#byUid.delete(uid);
    const key = nameKey(previous.namespace, previous.name);
    if (this.#byName.get(key) === previous) this.#byName.delete(key);
    return [{ previous, current: undefined }];
  }

  /** Takes a complete list in place of everything held. What is gone comes first among the changes. */
  replace(records: readonly R[]): readonly ObjectChange<R>[] {
    const next = new ObjectStore<R>();
    for (const record of records) next.upsert(record);
    const changes: ObjectChange<R>[] = [];
    for (const previous of this.#byUid.values()) {
      if (next.get(previous.uid) === undefined) {
        changes.push({ previous, current: undefined });
        this.#bury(previous.uid);
      }
    }
    for (const current of next.values()) {
      changes.push({ previous: this.#byUid.get(current.uid), current });
      this.#deleted.delete(current.uid);
    }
    this.#byUid = next.#byUid;
    this.#byName = next.#byName;
    return changes;
  }

  #hold(record: R): void {
    const previous = this.#byUid.get(record.uid);
    if (previous !== undefined) this.#byName.delete(nameKey(previous.namespace, previous.name));
    this.#byUid.set(record.uid, record);
    this.#byName.set(nameKey(record.namespace, record.name), record);
  }

  #bury(uid: string): void {
    this.#deleted.add(uid);
    for (const oldest of this.#deleted) {
      if (this.#deleted.size <= TOMBSTONES) break;
      this.#deleted.delete(oldest);
    }
  }
}

function nameKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function isNotNewer(record: StoredObject, held: StoredObject): boolean {
  const order = compareVersions(record.resourceVersion, held.resourceVersion);
  return order !== undefined && order <= 0;
}
