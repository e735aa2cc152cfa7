import type { JsonObject } from '../json.ts';
import type { Delivery } from './delivery.ts';
import type { Fault, Faults } from './faults.ts';
import type { Lists } from './list.ts';
import type { Objects } from './object-writer.ts';
import type { PathRequest, ResourceRequest, Verb } from './request.ts';
import { type Resource, RESOURCES } from './resources.ts';
import type { Watch } from './watch.ts';

export type ResourceName = 'pods' | 'namespaces' | 'serviceaccounts' | 'events' | 'nodes';

export interface ApiControlsParts {
  readonly objects: Objects;
  readonly deliveries: ReadonlyMap<Resource, Delivery>;
  readonly faults: Faults;
  readonly lists: Lists;
  readonly watches: ReadonlySet<Watch>;
}

/** What a test does to the API. Without a resource's name a control holds for all. */
export class ApiControls {
  /** How a watch from a forgotten revision is refused: in the stream, as by default, or with an HTTP status. */
  expiredAs: 'event' | 'status' = 'event';
  readonly #parts: ApiControlsParts;
  readonly #counts = new Map<string, number>();

  constructor(parts: ApiControlsParts) {
    this.#parts = parts;
  }

  /** Watches are told nothing until {@link releaseDelivery}; lists show everything. */
  holdDelivery(resource?: ResourceName): void {
    for (const delivery of this.#deliveries(resource)) delivery.hold();
  }

  releaseDelivery(resource?: ResourceName): void {
    for (const delivery of this.#deliveries(resource)) delivery.release();
  }

  /** Watches are told of each change so much later; 0 ends it. */
  delayDelivery(delayMs: number, resource?: ResourceName): void {
    for (const delivery of this.#deliveries(resource)) delivery.delay(delayMs);
  }

  /** Ends open watches between two lines. */
  endWatches(resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.end();
  }

  /** Cuts the connections of open watches. */
  cutWatches(resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.cut();
  }

  /** Cuts open watches in the middle of the next line that they send. */
  tearNextLine(resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.tearNextLine();
  }

  /** Writes any text into open watches. */
  writeRaw(text: string, resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.write(text);
  }

  /** Sends an event of any type with any object. */
  writeEvent(type: string, object: JsonObject, resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.event(type, JSON.stringify(object));
  }

  /** Sends a bookmark to the watches that allow them, unless they lie behind. */
  bookmark(resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.bookmark();
  }

  /** Ends open watches with an ERROR event that says 410. */
  expireWatches(resource?: ResourceName): void {
    for (const watch of this.#watches(resource)) watch.expire('The resourceVersion for the provided watch is too old.');
  }

  openWatches(resource?: ResourceName): number {
    return this.#watches(resource).length;
  }

  /** Forgets history and snapshots: watches from before now and continue tokens are answered 410. */
  compact(): void {
    // Each resource moves on by one revision, or a watch from the very latest one would still be valid.
    this.#parts.objects.revisions.next();
    for (const resource of RESOURCES) this.#parts.objects.collection(resource).compact();
    this.#parts.lists.compact();
  }

  /** Lets the next requests fail. */
  failNext(fault: Fault): void {
    this.#parts.faults.add(fault);
  }

  clearFaults(): void {
    this.#parts.faults.clear();
  }

  /** Requests since the start or {@link clearCounts}; by one user or by all. */
  requests(verb: Verb, resource: string, userName = ''): number {
    return this.#counts.get(`${userName} ${verb} ${resource}`) ?? 0;
  }

  clearCounts(): void {
    this.#counts.clear();
  }

  count(request: ResourceRequest | PathRequest, userName: string): void {
    const what =
      request.kind === 'path' ? `${request.verb} ${request.path}` : `${request.verb} ${request.resourceName}`;
    for (const key of [` ${what}`, `${userName} ${what}`]) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  #deliveries(resource: ResourceName | undefined): Delivery[] {
    const found = [...this.#parts.deliveries].filter(([{ name }]) => resource === undefined || name === resource);
    return found.map(([, delivery]) => delivery);
  }

  #watches(resource: ResourceName | undefined): Watch[] {
    return [...this.#parts.watches].filter((watch) => resource === undefined || watch.resourceName === resource);
  }
}
