import type { Clock } from '#runtime/clock.ts';
import { type Credentials, type IssuedSet, SHORTEST_SERVED_LIFE_MS } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import type { Rank } from './call-limiter.ts';
import type { RememberedFailure } from './failure-memory.ts';
import { urgentBeforeDeathMs } from './lifetime.ts';
import type { StsFailure } from './sts.ts';
import { isTransient } from './sts.ts';

/**
 * Credentials in use and their moments. Each moment is kept by both clocks, because the monotonic one stops while the machine
 * sleeps and the wall clock may be set to anything. Credentials have expired once either clock says so.
 */
export interface HeldCredentials {
  readonly credentials: Credentials;
  readonly refreshAt: Moment;
  readonly urgentAt: Moment;
  readonly deadAt: Moment;
  /** As counted from when it was issued, for the metrics. */
  readonly endsAt: Moment;
}

/** The same instant by the monotonic and by the wall clock, in milliseconds. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** A call to STS that is queued or in progress, and its waiting callers. */
export interface Fetch {
  readonly waiters: Set<(outcome: HeldCredentials | StsFailure) => void>;
  /** Something changed since the call began: if it fails, the next one may follow at once. */
  forgiven: boolean;
}

/**
 * `renewed`: a live pod has the identity, and the set is renewed before anybody asks; `asked`: a pod asked here, and nothing is
 * fetched until one asks again, as its node is another replica's; `unused`: no live pod has it, as far as the cache has been
 * told.
 */
export type EntryUse = 'renewed' | 'asked' | 'unused';

/** What the cache knows of one identity. */
export interface CacheEntry {
  readonly key: string;
  readonly identity: Identity;
  use: EntryUse;
  held: HeldCredentials | undefined;
  fetch: Fetch | undefined;
  failure: RememberedFailure | undefined;
  /** The sets before the one that is held, of those that have not ended: pods may still use them. */
  earlier: readonly IssuedSet[];
  /** By the monotonic clock; when failures were last forgiven. */
  forgivenAtMs: number;
  /** Calls to STS so far. */
  calls: number;
}

export function newEntry(key: string, identity: Identity, use: EntryUse): CacheEntry {
  return {
    key,
    identity,
    use,
    held: undefined,
    fetch: undefined,
    failure: undefined,
    earlier: [],
    forgivenAtMs: Number.NEGATIVE_INFINITY,
    calls: 0,
  };
}

/** Credentials are not renewed in the background sooner than this after they came, however short their life. */
const SHORTEST_BETWEEN_CALLS_MS = 30_000;

/** The present by both clocks. */
export function present(clock: Clock): Moment {
  return { monotonicMs: clock.monotonic(), wallMs: clock.now() };
}

/** Puts credentials with a known life into use, to be renewed after `refreshMs`. */
export function hold(credentials: Credentials, lifeMs: number, refreshMs: number, now: Moment): HeldCredentials {
  const at = (afterMs: number): Moment => ({
    monotonicMs: now.monotonicMs + afterMs,
    wallMs: now.wallMs + afterMs,
  });
  const deadMs = lifeMs - SHORTEST_SERVED_LIFE_MS;
  return {
    credentials,
    refreshAt: at(Math.max(SHORTEST_BETWEEN_CALLS_MS, Math.min(refreshMs, deadMs))),
    urgentAt: at(deadMs - urgentBeforeDeathMs(lifeMs)),
    deadAt: at(deadMs),
    endsAt: at(lifeMs),
  };
}

/** A renewed entry has one before the present set, as a rule. */
const MOST_EARLIER = 16;

/** Adds the credentials that are being replaced, and drops expired ones. */
export function earlierSets({ held, earlier }: CacheEntry, now: Moment): readonly IssuedSet[] {
  if (held === undefined) return earlier;
  const { accessKeyId, issuedAtMs, expiresAtMs } = held.credentials;
  const alive = earlier.filter((set) => set.expiresAtMs > now.wallMs);
  return [...alive, { accessKeyId, issuedAtMs, expiresAtMs }].slice(-MOST_EARLIER);
}

/** Whether a moment has passed by either clock. */
export function hasCome(moment: Moment, now: Moment): boolean {
  return now.monotonicMs >= moment.monotonicMs || now.wallMs >= moment.wallMs;
}

/** The time until a moment by the clock that has less of it left, in milliseconds; negative once it has come. */
export function untilMs(moment: Moment, now: Moment): number {
  return Math.min(moment.monotonicMs - now.monotonicMs, moment.wallMs - now.wallMs);
}

/** What may be served. */
export function servable({ held }: CacheEntry, now: Moment): HeldCredentials | undefined {
  return held === undefined || hasCome(held.deadAt, now) ? undefined : held;
}

/**
 * The rank of the background call that an entry needs, unless a failure stands; undefined when it needs none, for instance
 * where it is not renewed here. Expired credentials are fetched before a pod asks again.
 */
export function dueAs(entry: CacheEntry, now: Moment): Rank | undefined {
  if (entry.use !== 'renewed') return undefined;
  const held = servable(entry, now);
  if (held !== undefined) return renewalRank(held, now);
  // A refused role is called for again when a pod asks; a new entry has a waiting caller already.
  if (entry.failure !== undefined) return isTransient(entry.failure.outcome.category) ? 'prefetch' : undefined;
  return entry.held === undefined || !hasCome(entry.held.refreshAt, now) ? undefined : 'prefetch';
}

/** The rank at which usable credentials are to be renewed; undefined before they are due. */
export function renewalRank(held: HeldCredentials, now: Moment): Rank | undefined {
  if (!hasCome(held.refreshAt, now)) return undefined;
  return hasCome(held.urgentAt, now) ? 'urgent' : 'refresh';
}

export type EntryState = 'fresh' | 'due' | 'failed' | 'empty' | 'asked' | 'unused';

/**
 * `fresh`: nothing to do; `due`: served but to be renewed; `failed`: nothing to serve and STS refused; `empty`: not yet;
 * `asked`: what a pod asked for whose node is another replica's; `unused`: no pod has the identity, and its set is kept for one
 * that may come.
 */
export function stateOf(entry: CacheEntry, now: Moment): EntryState {
  if (entry.use !== 'renewed') return entry.use;
  const held = servable(entry, now);
  if (held !== undefined) return hasCome(held.refreshAt, now) ? 'due' : 'fresh';
  return entry.failure === undefined ? 'empty' : 'failed';
}
