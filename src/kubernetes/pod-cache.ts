import { setImmediate as nextTurn } from 'node:timers/promises';
import { isOnNode, type Asker } from '#domain/node.ts';
import type { PodRecord, PodLookup } from '#domain/pod.ts';
import type { Logger } from '#telemetry/logger.ts';
import { AddressIndex } from './address-index.ts';
import type { ListWatchTarget } from './list-watch.ts';
import { createListeners, type Listeners } from './listeners.ts';
import { ObjectStore, type ObjectChange } from './object-store.ts';
import { podsDiffer } from './pod-record.ts';

export interface PodCacheOptions {
  readonly logger: Logger;
  /** Adds to a pod the role that its ServiceAccount gives it. Default: the pod stays as it is. */
  readonly bind?: (pod: PodRecord) => PodRecord;
}

/** Pods of one ServiceAccount that are bound again in one turn of the event loop. */
const PODS_IN_TURN = 100;

/** Beyond this many waiting callers `waitFor` answers at once. */
const MOST_WAITS = 10_000;

/**
 * The pods of the cluster as last received from the API server, by UID and by address (docs/specification.md, 6). All answers
 * come from memory.
 */
export class PodCache implements ListWatchTarget<PodRecord> {
  readonly #store = new ObjectStore<PodRecord>();
  readonly #index = new AddressIndex();
  readonly #listeners: Listeners<PodRecord>;
  readonly #waits = new Map<string, Set<() => void>>();
  readonly #bind: (pod: PodRecord) => PodRecord;
  /** UIDs by the ServiceAccount that the pods run as. */
  readonly #byAccount = new Map<string, Set<string>>();
  #waitCount = 0;

  constructor({ logger, bind = (pod) => pod }: PodCacheOptions) {
    this.#listeners = createListeners({ logger, resource: 'pods' });
    this.#bind = bind;
  }

  get size(): number {
    return this.#store.size;
  }

  /** Addresses that more than one live pod claims. */
  get ambiguousAddresses(): number {
    return this.#index.contestedCount;
  }

  /**
   * The live pod that owns an address in canonical form. If a node is given only its own pods count, whatever others claim. Two
   * that claim the address are `ambiguous`, unless the node is given and exactly one of them is not terminating.
   */
  find(address: string, { node }: Asker = {}): PodLookup {
    const claimants = this.#index.claimants(address);
    const pods = node === undefined ? claimants : claimants.filter((pod) => isOnNode(pod, node));
    const [first, second] = pods;
    if (first === undefined) return { kind: 'none' };
    if (second === undefined) return { kind: 'found', pod: first };
    const [staying, another] = node === undefined ? [] : pods.filter(({ terminating }) => !terminating);
    return staying !== undefined && another === undefined
      ? { kind: 'found', pod: staying }
      : { kind: 'ambiguous', pods };
  }

  /** As `find`, but waits for a pod to appear, woken by the change that brings it, until `signal` aborts. Never rejects. */
  waitFor(address: string, signal: AbortSignal, asker: Asker = {}): Promise<PodLookup> {
    const present = this.find(address, asker);
    if (present.kind !== 'none' || signal.aborted || this.#waitCount >= MOST_WAITS) return Promise.resolve(present);
    return new Promise((resolve) => {
      const finish = (): void => {
        signal.removeEventListener('abort', finish);
        this.#stopWaiting(address, wake);
        resolve(this.find(address, asker));
      };
      const wake = (): void => {
        if (this.find(address, asker).kind !== 'none') finish();
      };
      signal.addEventListener('abort', finish, { once: true });
      this.#startWaiting(address, wake);
    });
  }

  byUid(uid: string): PodRecord | undefined {
    return this.#store.get(uid);
  }

  byName(namespace: string, name: string): PodRecord | undefined {
    return this.#store.named(namespace, name);
  }

  /** Every pod known, also those that own no address. */
  pods(): Iterable<PodRecord> {
    return this.#store.values();
  }

  /** Calls `listener` after the cache holds the change; not for changes of the resource version alone. */
  subscribe(listener: (change: ObjectChange<PodRecord>) => void): () => void {
    return this.#listeners.subscribe(listener);
  }

  get(uid: string): PodRecord | undefined {
    return this.#store.get(uid);
  }

  isDeleted(uid: string): boolean {
    return this.#store.isDeleted(uid);
  }

  async replace(records: readonly PodRecord[]): Promise<void> {
    await this.#listeners.tellAll(this.#take(this.#store.replace(records.map(this.#bind))));
  }

  upsert(record: PodRecord): boolean {
    return this.#takeAndTell(this.#store.upsert(this.#bind(record)));
  }

  remove(uid: string): boolean {
    return this.#takeAndTell(this.#store.remove(uid));
  }

  /**
   * Binds the pods of a ServiceAccount again, spread over turns of the event loop, and calls the listeners for those that
   * changed. Never rejects.
   */
  async rebind(namespace: string, serviceAccount: string): Promise<void> {
    const uids = [...(this.#byAccount.get(`${namespace}/${serviceAccount}`) ?? [])];
    for (const [index, uid] of uids.entries()) {
      if (index > 0 && index % PODS_IN_TURN === 0) await nextTurn();
      const pod = this.#store.get(uid);
      if (pod !== undefined) this.#takeAndTell(this.#store.amend(this.#bind(pod)));
    }
  }

  #takeAndTell(changes: readonly ObjectChange<PodRecord>[]): boolean {
    for (const change of this.#take(changes)) this.#listeners.tell(change);
    return changes.length > 0;
  }

  /** Updates the index to the store at once, wakes waiting callers, and returns the changes that listeners are called for. */
  #take(changes: readonly ObjectChange<PodRecord>[]): readonly ObjectChange<PodRecord>[] {
    for (const { previous } of changes) if (previous !== undefined) this.#index.remove(previous);
    for (const { current } of changes) if (current !== undefined) this.#index.add(current);
    for (const change of changes) this.#place(change);
    if (this.#waitCount > 0) for (const { current } of changes) if (current !== undefined) this.#wake(current);
    return changes.filter(
      ({ previous, current }) => previous === undefined || current === undefined || podsDiffer(previous, current),
    );
  }

  /** A pod's ServiceAccount never changes; should it differ for one UID, the pod is listed under both. */
  #place({ previous, current }: ObjectChange<PodRecord>): void {
    const before = previous && accountKey(previous);
    const now = current && accountKey(current);
    if (before === now) return;
    if (before !== undefined && previous !== undefined) {
      const uids = this.#byAccount.get(before);
      uids?.delete(previous.uid);
      if (uids?.size === 0) this.#byAccount.delete(before);
    }
    if (now === undefined || current === undefined) return;
    const uids = this.#byAccount.get(now) ?? new Set();
    this.#byAccount.set(now, uids.add(current.uid));
  }

  #wake(pod: PodRecord): void {
    for (const address of pod.addresses) {
      for (const wake of this.#waits.get(address) ?? []) wake();
    }
  }

  #startWaiting(address: string, wake: () => void): void {
    const waits = this.#waits.get(address) ?? new Set();
    waits.add(wake);
    this.#waits.set(address, waits);
    this.#waitCount += 1;
  }

  #stopWaiting(address: string, wake: () => void): void {
    const waits = this.#waits.get(address);
    if (waits?.delete(wake) !== true) return;
    this.#waitCount -= 1;
    if (waits.size === 0) this.#waits.delete(address);
  }
}

function accountKey({ namespace, serviceAccount }: PodRecord): string {
  return `${namespace}/${serviceAccount}`;
}
