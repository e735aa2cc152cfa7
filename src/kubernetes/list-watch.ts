import { createBackoff, type Backoff } from '#runtime/backoff.ts';
import { sleep, type Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerInterval } from '#telemetry/once.ts';
import { readLines, SilenceError } from './body.ts';
import { createViewAge, type ViewAge } from './view-age.ts';
import type { ApiResponse, KubernetesConnection } from './connection.ts';
import { apiFailureOf, listAll, type ApiFailure } from './list.ts';
import type { KubernetesMetrics } from './metrics.ts';
import type { StoredObject } from './object-store.ts';
import { createOutageLog, type OutageLog } from './outage-log.ts';
import { createPatience, type AskPatiently } from './patience.ts';
import { compareVersions } from './resource-version.ts';
import { parseWatchEvent, type WatchEvent } from './watch-event.ts';

/** Receives the objects: complete lists and single changes, in order. */
export interface ListWatchTarget<R extends StoredObject> {
  readonly size: number;
  get(uid: string): R | undefined;
  /** Whether this UID was held and has been deleted. */
  isDeleted(uid: string): boolean;
  /** Replaces everything by a complete list at once; resolves when all listeners have been called. Never rejects. */
  replace(records: readonly R[]): Promise<void>;
  /** Takes a new state; false when it says nothing new. */
  upsert(record: R): boolean;
  remove(uid: string): boolean;
}

export interface ListWatchOptions<R extends StoredObject> {
  readonly resource: {
    readonly name: 'pods' | 'namespaces' | 'serviceaccounts' | 'nodes';
    readonly path: string;
    /** Selects some of the objects. */
    readonly query?: Readonly<Record<string, string>> | undefined;
    /** Undefined for what cannot be read. Never throws. */
    readonly parse: (value: unknown) => R | undefined;
  };
  readonly target: ListWatchTarget<R>;
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: KubernetesMetrics;
  readonly signal: AbortSignal;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/** How much the view of one resource can be trusted. Ages are in milliseconds of monotonic time, infinite before the first. */
export interface ViewStatus {
  readonly synced: boolean;
  /** Since the last byte of a watch or a complete list. */
  readonly silenceMs: number;
  /** Since the start of the last read whose resource version the view has reached. */
  readonly confirmedAgeMs: number;
  /** What is wrong at present, in one line. */
  readonly lastError: string | undefined;
  /** It has never been read, and the API server forbids it (403). */
  readonly isForbidden: boolean;
}

type RelistReason = 'start' | 'expired' | 'bad-line' | 'out-of-order' | 'older-list' | 'older-read' | 'refused';

type Step =
  | { readonly kind: 'done' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'relist'; readonly reason: RelistReason }
  | { readonly kind: 'failed'; readonly failure: ApiFailure }
  /** No headers in time: the API server may have queued the watch. */
  | { readonly kind: 'late'; readonly failure: ApiFailure };

/**
 * A watch is asked to end after 5 to 7 seconds, far less than Kubernetes' own clients ask for. Nothing else proves within
 * 10 seconds that a quiet watch lives: bookmarks come once a minute, TCP keep-alive is answered by any load balancer on the
 * way, and a probe on another connection says nothing about this one. A watch that must end by itself does: the API server
 * sends a bookmark two seconds before the end (k8s.io/apiserver, storage/cacher, nextBookmarkTime), the next watch goes over
 * the same kept-alive connection, and whatever the last one missed is delivered again by the next. It costs one cheap
 * request in six seconds for each resource.
 */
const SHORTEST_WATCH_SECONDS = 5;
const WATCH_JITTER_SECONDS = 3;
const SILENCE_LIMIT_MS = 9_000;
/** etcd takes objects of 1.5 MiB. */
const LONGEST_LINE_BYTES = 8 * 1024 * 1024;
/** A watch that ends sooner did not end because its time was over. */
const EARLY_END_MS = 1_000;
/** A bad line is logged once, and again after this long. */
const QUIET_MS = 300_000;
const MOST_MESSAGES = 100;
const LONGEST_RETRY_AFTER_MS = 15_000;

/** Keeps a target equal to what the API server holds of one resource: lists, watches, resumes, and lists again when in doubt. */
export class ListWatch<R extends StoredObject> {
  readonly #options: ListWatchOptions<R>;
  readonly #random: () => number;
  readonly #outage: OutageLog;
  readonly #viewAge: ViewAge;
  readonly #ask: AskPatiently;
  readonly #failures: Backoff;
  readonly #relists: Backoff;
  readonly #isDue: (key: string) => boolean;
  /** The resource version up to which the target knows everything; undefined before the first list. */
  #position: string | undefined;
  #lastByteMs: number | undefined;
  #acceptOlderList = false;
  /** Aborts when etcd turns out to have gone back to an earlier state: a watch from the position proves nothing then. */
  #disproof = new AbortController();
  readonly #synced = Promise.withResolvers<void>();

  constructor(options: ListWatchOptions<R>) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    const { logger, clock, resource } = options;
    this.#isDue = oncePerInterval({ clock, intervalMs: QUIET_MS, most: MOST_MESSAGES });
    this.#outage = createOutageLog({ logger, clock, resource: resource.name });
    this.#ask = createPatience(options.connection, clock);
    this.#viewAge = createViewAge({
      ...options,
      ask: createPatience(options.connection, clock),
      path: resource.path,
      onOlderRead: (position, resourceVersion) => {
        // This read is the first of two proofs; the next list is the second and is accepted.
        this.#acceptOlderList = true;
        this.#tellOlderStore(position, resourceVersion);
        this.#disproof.abort();
      },
    });
    this.#failures = createBackoff({ firstMs: 250, capMs: 5_000, random: this.#random });
    this.#relists = createBackoff({ firstMs: 100, capMs: 10_000, random: this.#random });
    options.metrics.showView(resource.name, () => ({ ...this.status(), objects: options.target.size }));
  }

  /** Resolves when the first complete list is in the target. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  status(): ViewStatus {
    const nowMs = this.#options.clock.monotonic();
    return {
      synced: this.#position !== undefined,
      silenceMs: this.#lastByteMs === undefined ? Number.POSITIVE_INFINITY : nowMs - this.#lastByteMs,
      confirmedAgeMs: this.#viewAge.ageMs(),
      lastError: this.#outage.lastError(),
      isForbidden: this.#position === undefined && this.#outage.lastStatus() === 403,
    };
  }

  /** Runs until the signal aborts. Never rejects. */
  async run(): Promise<void> {
    const { signal, clock } = this.#options;
    let relist: RelistReason | undefined = 'start';
    while (!signal.aborted) {
      const step: Step = await this.#attempt(relist);
      if (signal.aborted) return;
      if (step.kind === 'done') {
        relist = undefined;
      } else if (step.kind === 'pause') {
        await sleep(clock, this.#failures.nextMs(), signal);
      } else if (step.kind === 'relist') {
        relist = step.reason;
        await sleep(clock, this.#relists.nextMs(), signal);
      } else if (step.kind === 'late') {
        this.#outage.failed('watch', step.failure);
        await sleep(clock, this.#failures.nextMs(), signal);
      } else {
        if (relist === undefined && refusesThePosition(step.failure)) relist = 'refused';
        await this.#afterFailure(relist === undefined ? 'watch' : 'list', step.failure);
      }
    }
  }

  async #attempt(relist: RelistReason | undefined): Promise<Step> {
    try {
      return relist === undefined ? await this.#watch(this.#position ?? '') : await this.#list(relist);
    } catch (error) {
      if (relist === undefined && this.#disproof.signal.aborted) return { kind: 'relist', reason: 'older-read' };
      const message = describeError(error);
      const failure: ApiFailure = { status: undefined, message, retryAfterMs: undefined };
      return { kind: relist === undefined && error instanceof SilenceError ? 'late' : 'failed', failure };
    }
  }

  async #afterFailure(verb: string, failure: ApiFailure): Promise<void> {
    const { connection, clock, signal } = this.#options;
    this.#outage.failed(verb, failure);
    if (failure.status === 401) connection.renewCredentials();
    if (failure.status === undefined) connection.dropIdleConnections();
    const askedMs = Math.min(failure.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
    await sleep(clock, Math.max(askedMs, this.#failures.nextMs()), signal);
  }

  async #list(reason: RelistReason): Promise<Step> {
    const { resource, target, connection, clock, metrics, signal } = this.#options;
    metrics.relists.inc({ resource: resource.name, reason });
    const startedMs = clock.monotonic();
    const outcome = await listAll({ ...resource, connection, signal });
    if (outcome.kind === 'failed') return outcome;
    if (outcome.kind === 'expired') return { kind: 'relist', reason: 'expired' };
    if (this.#isOlder(outcome.resourceVersion) && !this.#acceptOlderList) {
      // One API server may be behind; if the next answer says the same, etcd was restored from a backup.
      this.#acceptOlderList = true;
      this.#tellOlderStore(this.#position ?? '', outcome.resourceVersion);
      return { kind: 'relist', reason: 'older-list' };
    }
    this.#acceptOlderList = false;
    this.#disproof = new AbortController();
    if (outcome.refused > 0) this.#refuseObjects(outcome.refused);
    await target.replace(outcome.records);
    this.#position = outcome.resourceVersion;
    this.#viewAge.restart(startedMs, outcome.resourceVersion);
    this.#hear();
    this.#synced.resolve();
    return { kind: 'done' };
  }

  async #watch(position: string): Promise<Step> {
    const { resource, connection, clock, metrics, signal } = this.#options;
    const disproof = this.#disproof.signal;
    const timeoutSeconds = SHORTEST_WATCH_SECONDS + Math.floor(this.#random() * WATCH_JITTER_SECONDS);
    const response = await this.#ask({
      method: 'GET',
      path: resource.path,
      query: {
        ...resource.query,
        watch: 'true',
        resourceVersion: position,
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(timeoutSeconds),
      },
      silenceLimitMs: SILENCE_LIMIT_MS,
      signal: AbortSignal.any([signal, disproof]),
    });
    if (response.status !== 200) {
      const failure = await apiFailureOf(response);
      return response.status === 410 ? { kind: 'relist', reason: 'expired' } : { kind: 'failed', failure };
    }
    this.#hear();
    this.#outage.succeeded();
    const startedMs = clock.monotonic();
    this.#viewAge.read();
    try {
      const step = await this.#follow(response);
      const early = step.kind === 'done' && clock.monotonic() - startedMs < EARLY_END_MS;
      if (step.kind === 'done' && !early) this.#trust();
      metrics.watchEnds.inc({ resource: resource.name, reason: early ? 'early' : step.kind });
      return early ? { kind: 'pause' } : step;
    } catch (error) {
      if (signal.aborted || disproof.aborted) throw error;
      // The next watch, over a new connection, shows whether the API server is lost.
      const silent = error instanceof SilenceError;
      metrics.watchEnds.inc({ resource: resource.name, reason: silent ? 'silent' : 'broken' });
      connection.dropIdleConnections();
      return silent ? { kind: 'done' } : { kind: 'pause' };
    }
  }

  async #follow(response: ApiResponse): Promise<Step> {
    for await (const line of readLines(this.#listen(response.chunks()), LONGEST_LINE_BYTES)) {
      // The end of a connection tears a line; the next watch brings it whole. Anything else unreadable is a lost event.
      if (line.kind === 'torn') this.#refuseLine('torn');
      else if (line.kind === 'too-long') return this.#distrust('too-long');
      else {
        const step = this.#apply(parseWatchEvent(line.text));
        if (step !== undefined) return step;
      }
    }
    return { kind: 'done' };
  }

  async *#listen(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.#hear();
      yield chunk;
    }
  }

  /** Undefined: the watch continues. */
  #apply(event: WatchEvent): Step | undefined {
    switch (event.kind) {
      case 'state':
      case 'deleted':
        return this.#applyObject(event.kind, event.object);
      case 'bookmark':
        this.#advance(event.resourceVersion);
        return undefined;
      case 'error':
        if (event.code === 410) return { kind: 'relist', reason: 'expired' };
        return { kind: 'failed', failure: { status: event.code, message: event.message, retryAfterMs: undefined } };
      case 'unreadable':
        break;
    }
    return this.#distrust(event.reason);
  }

  #applyObject(kind: 'state' | 'deleted', object: unknown): Step | undefined {
    const { resource, target, metrics } = this.#options;
    const record = resource.parse(object);
    if (record === undefined) return this.#distrust('unreadable-object');
    // A watch goes forward only. A late event of an object that is not held may be a replay or an event that was lost before.
    const late = this.#isNotNewer(record.resourceVersion);
    const known = target.get(record.uid) !== undefined || target.isDeleted(record.uid);
    if (kind === 'state' && late && !known) return { kind: 'relist', reason: 'out-of-order' };
    const changed = kind === 'deleted' ? target.remove(record.uid) : target.upsert(record);
    if (!changed) metrics.staleEvents.inc({ resource: resource.name });
    this.#advance(record.resourceVersion);
    return undefined;
  }

  #hear(): void {
    this.#lastByteMs = this.#options.clock.monotonic();
  }

  /** The API server gives valid answers again: the next failure is a new one. */
  #trust(): void {
    this.#failures.reset();
    this.#relists.reset();
  }

  #advance(resourceVersion: string): void {
    if (resourceVersion === '' || this.#isNotNewer(resourceVersion)) return;
    this.#position = resourceVersion;
    this.#viewAge.reach(resourceVersion);
  }

  #isNotNewer(resourceVersion: string): boolean {
    const order = compareVersions(resourceVersion, this.#position ?? '');
    return order !== undefined && order <= 0;
  }

  #isOlder(resourceVersion: string): boolean {
    const order = compareVersions(resourceVersion, this.#position ?? '');
    return order !== undefined && order < 0;
  }

  #tellOlderStore(position: string, resourceVersion: string): void {
    const { logger, resource } = this.#options;
    logger.warn('the Kubernetes API returned an older state than before: listing everything again', {
      resource: resource.name,
      position,
      resourceVersion,
    });
  }

  #distrust(reason: string): Step {
    this.#refuseLine(reason);
    return { kind: 'relist', reason: 'bad-line' };
  }

  #refuseLine(reason: string): void {
    const { resource, metrics } = this.#options;
    metrics.badLines.inc({ resource: resource.name, reason });
    this.#warnOnce('refused a line of a watch of the Kubernetes API', reason);
  }

  #refuseObjects(count: number): void {
    const { resource, metrics } = this.#options;
    metrics.refusedObjects.inc({ resource: resource.name }, count);
    this.#warnOnce('refused an object of a list of the Kubernetes API', 'unreadable-object');
  }

  #warnOnce(message: string, reason: string): void {
    const { logger, resource } = this.#options;
    if (this.#isDue(message + reason)) logger.warn(message, { resource: resource.name, reason });
  }
}

/** Whether the API server will never accept the request: the version to resume from is invalid to it. */
function refusesThePosition({ status }: ApiFailure): boolean {
  return status !== undefined && status >= 400 && status < 500 && ![401, 403, 429].includes(status);
}
