import type { ServerResponse } from 'node:http';
import type { Clock } from '#runtime/clock.ts';
import { ApiError, badRequest, expired, invalid, statusOf } from './api-error.ts';
import type { Delivery } from './delivery.ts';
import { selectorOf } from './list.ts';
import { isTrue, numberOf, type ResourceRequest } from './request.ts';
import { apiVersionOf } from './resources.ts';
import type { Selector } from './selectors.ts';
import type { Change, Collection, Revisions, Version } from './store.ts';

export interface WatchOptions {
  readonly clock: Clock;
  readonly collection: Collection;
  readonly delivery: Delivery;
  readonly revisions: Revisions;
  readonly bookmarkIntervalMs: number;
  /** How a revision that is forgotten is refused: inside the stream, as the real server does, or as an HTTP 410. */
  readonly expiredAs: 'event' | 'status';
  /** The JSON of an object as this client wants it. */
  readonly present: (version: Version) => string;
}

const LARGEST_BACKLOG_BYTES = 64 * 1024 * 1024;

/** One open watch. It owns the response until it is closed. */
export class Watch {
  readonly #options: WatchOptions;
  readonly #response: ServerResponse;
  readonly #selects: Selector;
  readonly #bookmarks: boolean;
  readonly #cancellations: (() => void)[] = [];
  #place = 0;
  #sentRevision = 0;
  #tearNext = false;
  #closed = false;

  constructor(options: WatchOptions, request: ResourceRequest, response: ServerResponse) {
    this.#options = options;
    this.#response = response;
    this.#selects = withName(selectorOf(options.collection.resource, request.namespace, request.query), request.name);
    this.#bookmarks = isTrue(request.query, 'allowWatchBookmarks');
    response.on('close', () => this.#release());
    if (this.#begin(request.query)) this.#follow(request.query);
  }

  get resourceName(): string {
    return this.#options.collection.resource.name;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the stream between two lines, as a time-out or a restart of the server does. */
  end(): void {
    this.#release();
    this.#response.end();
  }

  /** Cuts the connection. */
  cut(): void {
    this.#release();
    this.#response.destroy();
  }

  /** Cuts the connection in the middle of the next line that is sent. */
  tearNextLine(): void {
    this.#tearNext = true;
  }

  /** Writes any text into the stream. */
  write(text: string): void {
    if (this.#closed) return;
    if (this.#tearNext) {
      this.#response.write(text.slice(0, Math.max(1, Math.floor(text.length / 2))), () => this.cut());
      this.#release();
      return;
    }
    this.#response.write(text);
    if (this.#response.writableLength > LARGEST_BACKLOG_BYTES) this.cut();
  }

  event(type: string, objectJson: string): void {
    this.write(`{"type":"${type}","object":${objectJson}}\n`);
  }

  /** Ends the stream with an ERROR event that says 410. */
  expire(message: string): void {
    this.event('ERROR', JSON.stringify(statusOf(expired(message))));
    this.end();
  }

  bookmark(): void {
    const { collection, delivery, revisions } = this.#options;
    if (!this.#bookmarks || delivery.held || delivery.visibleEnd < collection.end) return;
    const { kind } = collection.resource;
    const metadata = { resourceVersion: String(revisions.latest), creationTimestamp: null };
    this.event('BOOKMARK', JSON.stringify({ kind, apiVersion: apiVersionOf(collection.resource), metadata }));
  }

  /** Sends the headers and what comes first; false when the watch has already ended. */
  #begin(query: URLSearchParams): boolean {
    const { collection, expiredAs } = this.#options;
    const asked = query.get('resourceVersion') ?? '';
    if (asked !== '' && !/^\d+$/.test(asked))
      throw badRequest(`Invalid value: "${asked}": resourceVersion must be a number`);
    if (query.has('sendInitialEvents')) {
      throw invalid(
        collection.resource,
        '',
        'sendInitialEvents',
        'Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled',
      );
    }
    const fromState = asked === '' || asked === '0';
    const tooOld = !fromState && Number(asked) < collection.compactedRevision;
    const message = `too old resource version: ${asked} (${collection.compactedRevision})`;
    if (tooOld && expiredAs === 'status') throw new ApiError(410, 'Expired', message);
    this.#response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    this.#response.flushHeaders();
    if (tooOld) {
      this.expire(message);
      return false;
    }
    if (fromState) {
      this.#place = collection.end;
      for (const version of collection.sorted()) {
        if (this.#selects(version.object)) this.event('ADDED', this.#options.present(version));
      }
    } else {
      this.#place = collection.placeAfter(Number(asked));
      this.#sentRevision = Number(asked);
    }
    return true;
  }

  #follow(query: URLSearchParams): void {
    const { clock, delivery, bookmarkIntervalMs } = this.#options;
    const timeoutSeconds = numberOf(query, 'timeoutSeconds') ?? 0;
    this.#cancellations.push(delivery.subscribe(() => this.#pump()));
    if (timeoutSeconds > 0) {
      this.#cancellations.push(
        clock.after(timeoutSeconds * 1000, () => {
          this.bookmark();
          this.end();
        }),
      );
    }
    let cancelBookmark = (): void => {};
    const nextBookmark = (): void => {
      cancelBookmark = clock.after(bookmarkIntervalMs, () => {
        this.bookmark();
        if (!this.#closed) nextBookmark();
      });
    };
    if (this.#bookmarks) nextBookmark();
    this.#cancellations.push(() => cancelBookmark());
    this.#pump();
  }

  #pump(): void {
    const { collection, delivery } = this.#options;
    while (!this.#closed && this.#place < delivery.visibleEnd) {
      if (collection.isDropped(this.#place)) {
        this.expire(`too old resource version: ${this.#sentRevision} (${collection.compactedRevision})`);
        return;
      }
      const change = collection.changeAt(this.#place);
      this.#place += 1;
      if (change !== undefined && change.revision > this.#sentRevision) this.#send(change);
    }
  }

  #send(change: Change): void {
    this.#sentRevision = change.revision;
    const wasSeen = change.before !== undefined && this.#selects(change.before.object);
    const isSeen = change.type !== 'DELETED' && this.#selects(change.now.object);
    if (isSeen) this.event(wasSeen ? 'MODIFIED' : 'ADDED', this.#options.present(change.now));
    else if (wasSeen) this.event('DELETED', this.#options.present(change.now));
  }

  #release(): void {
    this.#closed = true;
    for (const cancel of this.#cancellations.splice(0)) cancel();
  }
}

function withName(selects: Selector, name: string): Selector {
  return name === '' ? selects : (object) => object.metadata.name === name && selects(object);
}
