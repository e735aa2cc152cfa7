import { type Clock, sleep } from '#runtime/clock.ts';
import type { CredentialInspection, Credentials, CredentialOutcome, IssuedSet, StsPace } from '#domain/credentials.ts';
import { isOfOnePod } from '#domain/attribution.ts';
import type { Identity } from '#domain/identity.ts';
import { identityKey } from '#domain/identity.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { CacheEntry, EntryState, EntryUse, Fetch, HeldCredentials, Moment } from './cache-entry.ts';
import { dueAs, earlierSets, hold, newEntry, present, renewalRank, servable, stateOf, untilMs } from './cache-entry.ts';
import type { Rank, Verdict } from './call-limiter.ts';
import { CallLimiter } from './call-limiter.ts';
import { createJumpWatch } from './clock-jump.ts';
import type { Issue, Issued } from './credential-issuer.ts';
import { createIssuer } from './credential-issuer.ts';
import { rememberFailure, standing, stands } from './failure-memory.ts';
import { refreshAfterMs } from './lifetime.ts';
import { inspectEntry } from './entry-inspection.ts';
import type { CredentialCacheMetrics, KiamStsMetrics } from './metrics.ts';
import type { Sts, StsFailure } from './sts.ts';
import { SecondTries } from './second-try.ts';
import { UnusedEntries } from './unused-entries.ts';
import { stillAsked, unavailable } from './sts-failure.ts';

export interface CredentialCacheOptions {
  readonly sts: Sts;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Renew this long before the end, or at half of the life where that is earlier; in milliseconds. See `refreshAfterMs`. */
  readonly sessionRefreshMs: number;
  /** The length of the sessions that are asked for, in milliseconds: a shorter one is renewed at half of its life. */
  readonly sessionMs?: number;
  /** The session name of pods that annotate none: it is not worth a log field. */
  readonly defaultSessionName: string;
  readonly kiamMetrics?: KiamStsMetrics;
  readonly metrics?: CredentialCacheMetrics;
  /** `--sts-rate`: the most calls to STS that start in any second; without it there is no such limit. */
  readonly callsPerSecond?: number;
  /** The longest that one call to STS may take, in milliseconds; 10 s unless told. */
  readonly callLimitMs?: number;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

const SWEEP_INTERVAL_MS = 1000;

/** A failure that may pass is retried after about this long. */
const SECOND_TRY_AFTER_MS = 50;

/** A change forgives failures at once, but a pod that changes all the time does not cause a call with each change. */
const FORGIVE_INTERVAL_MS = 5000;

/**
 * The credentials of every identity that a live pod of this replica's nodes has, renewed before anybody asks, and those that
 * other pods asked for here, renewed when one asks again. Credentials that a live pod uses are never dropped for lack of space.
 * Those whose last pod is gone are kept, without renewal, until they expire or others need the space. Calls to STS belong to
 * the cache: one per identity at a time, shared by all callers, and not ended when a caller leaves.
 */
export class StsCredentialCache {
  readonly #options: CredentialCacheOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #unused = new UnusedEntries();
  readonly #secondTries = new SecondTries();
  readonly #listeners = new Set<(identity: Identity) => void>();
  readonly #limiter: CallLimiter;
  readonly #issue: Issue;
  readonly #closing = new AbortController();
  #cancelSweep: () => void;
  readonly #hasJumped: () => boolean;

  constructor(options: CredentialCacheOptions) {
    const { clock, kiamMetrics, metrics, callLimitMs = 10_000, callsPerSecond, random = Math.random } = options;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#limiter = new CallLimiter({ clock, random, ...(callsPerSecond === undefined ? {} : { callsPerSecond }) });
    this.#issue = createIssuer({ ...options, kiamMetrics, metrics, callLimitMs, signal: this.#closing.signal });
    this.#hasJumped = createJumpWatch(clock, options.logger);
    this.#cancelSweep = clock.after(SWEEP_INTERVAL_MS, () => this.#sweep());
  }

  /**
   * The identity's credentials, from memory or from STS. `signal` ends the caller's waiting alone: the call to STS continues
   * for everybody else and its result is kept. Never rejects.
   */
  async get(identity: Identity, urgency: 'request' | 'prefetch', signal: AbortSignal): Promise<CredentialOutcome> {
    const key = identityKey(identity);
    const entry = this.#entries.get(key) ?? this.#add(key, identity);
    // The caller is a live pod, or asks for one; the next call of `retain` corrects it.
    if (urgency === 'prefetch') this.#use(entry, 'renewed');
    else if (entry.use === 'unused') this.#use(entry, 'asked');
    const now = present(this.#clock);
    const held = servable(entry, now);
    if (held !== undefined) {
      this.#options.kiamMetrics?.cacheHits.inc();
      if (urgency === 'request') this.#countServed(held);
      if (entry.use === 'asked') this.#renewIfDue(entry, held, now);
      return { ok: true, value: held.credentials };
    }
    this.#options.kiamMetrics?.cacheMisses.inc();
    if (entry.failure !== undefined && this.#mustNotRetry(entry, now)) return standing(entry.failure, now.monotonicMs);
    this.#noticeJump();
    const outcome = await this.#wait(this.#fetch(entry, urgency), signal);
    if (urgency === 'request') {
      this.#options.metrics?.waited((this.#clock.monotonic() - now.monotonicMs) / 1000);
      if ('credentials' in outcome) this.#countServed(outcome);
    }
    return 'credentials' in outcome ? { ok: true, value: outcome.credentials } : outcome;
  }

  /** What `get` would return from memory. Makes no call and counts nothing. */
  peek(identity: Identity): Credentials | undefined {
    const entry = this.#entries.get(identityKey(identity));
    return entry === undefined ? undefined : servable(entry, present(this.#clock))?.credentials;
  }

  /** Calls `listener` with each identity whose credentials are new. The returned function ends it. */
  subscribe(listener: (identity: Identity) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Sets which identities have a live pod, and which of them are renewed here. Others are no longer renewed, and kept only
   * while their credentials are usable.
   */
  retain(identities: Iterable<{ readonly identity: Identity; readonly isRenewed: boolean }>): void {
    const uses = new Map<string, EntryUse>();
    for (const { identity, isRenewed } of identities) uses.set(identityKey(identity), isRenewed ? 'renewed' : 'asked');
    for (const entry of this.#entries.values()) {
      const use = uses.get(entry.key);
      if (use === undefined) this.#release(entry);
      else this.#use(entry, use);
    }
  }

  /** Forgets remembered failures of an identity, because something that led to them may have changed. */
  forgive(identity: Identity): void {
    const entry = this.#entries.get(identityKey(identity));
    if (entry === undefined || (entry.fetch === undefined && entry.failure === undefined)) return;
    const nowMs = this.#clock.monotonic();
    if (nowMs - entry.forgivenAtMs < FORGIVE_INTERVAL_MS) return;
    entry.forgivenAtMs = nowMs;
    // The count stays: if it fails again, a pod that keeps changing has gained one call and not a fresh start.
    if (entry.failure !== undefined) entry.failure = { ...entry.failure, retryAtMs: nowMs };
    if (entry.fetch !== undefined) entry.fetch.forgiven = true;
  }

  /** Renews credentials now although they are not due; they are served until the new ones have come. */
  renew(identity: Identity): void {
    const entry = this.#entries.get(identityKey(identity));
    if (entry !== undefined && !this.#mustNotRetry(entry, present(this.#clock))) this.#fetch(entry, 'urgent');
  }

  /** For a metric: the life left in what is held for an identity, in milliseconds; undefined when nothing is held. */
  remainingMs(identity: Identity): number | undefined {
    const held = this.#entries.get(identityKey(identity))?.held;
    return held === undefined ? undefined : untilMs(held.endsAt, present(this.#clock));
  }

  /** For people: what is known of an identity. Makes no call, counts nothing and extends no life. */
  inspect(identity: Identity): CredentialInspection {
    const { episode, state } = this.#limiter;
    const entry = this.#entries.get(identityKey(identity));
    return inspectEntry(entry, present(this.#clock), { episode, isPaused: state.paused });
  }

  /** How fast STS is called now. */
  get pace(): StsPace {
    return this.#limiter.state;
  }

  /**
   * For people: the identity that the credentials with this access key id were issued to, as long as they have not expired and
   * are remembered.
   */
  issuedTo(accessKeyId: string): { readonly identity: Identity; readonly set: IssuedSet } | undefined {
    const { wallMs } = present(this.#clock);
    for (const { identity, held, earlier } of this.#entries.values()) {
      const sets = held === undefined ? earlier : [held.credentials, ...earlier];
      const found = sets.find((set) => set.accessKeyId === accessKeyId && set.expiresAtMs > wallMs);
      if (found === undefined) continue;
      const { issuedAtMs, expiresAtMs } = found;
      return { identity, set: { accessKeyId, issuedAtMs, expiresAtMs } };
    }
    return undefined;
  }

  /** Ends the background work and every call; waiting callers get an error. */
  close(): void {
    this.#closing.abort();
    this.#cancelSweep();
    this.#limiter.close();
    for (const entry of this.#entries.values()) {
      if (entry.fetch !== undefined) this.#finish(entry, entry.fetch, shuttingDown());
    }
  }

  #add(key: string, identity: Identity): CacheEntry {
    const entry = newEntry(key, identity, 'asked');
    this.#entries.set(key, entry);
    return entry;
  }

  #countServed(held: HeldCredentials): void {
    this.#options.metrics?.served(untilMs(held.endsAt, present(this.#clock)) / 1000);
  }

  #mustNotRetry({ failure }: CacheEntry, now: Moment): boolean {
    return failure !== undefined && stands(failure, now.monotonicMs, this.#limiter.episode);
  }

  /** Joins the identity's call to STS, or asks for one. */
  #fetch(entry: CacheEntry, rank: Rank): Fetch {
    if (entry.fetch !== undefined) {
      this.#limiter.promote(entry.key, rank);
      return entry.fetch;
    }
    const fetch: Fetch = { waiters: new Set(), forgiven: false };
    if (this.#closing.signal.aborted) return fetch;
    entry.fetch = fetch;
    this.#limiter.enqueue(entry.key, rank, () => this.#call(entry, fetch));
    return fetch;
  }

  #wait(fetch: Fetch, signal: AbortSignal): Promise<HeldCredentials | StsFailure> {
    return new Promise((resolve) => {
      const finish = (outcome: HeldCredentials | StsFailure): void => {
        signal.removeEventListener('abort', leave);
        resolve(outcome);
      };
      const leave = (): void => {
        fetch.waiters.delete(finish);
        resolve(stillAsked());
      };
      if (this.#closing.signal.aborted) resolve(shuttingDown());
      else if (signal.aborted) leave();
      else {
        fetch.waiters.add(finish);
        signal.addEventListener('abort', leave, { once: true });
      }
    });
  }

  async #call(entry: CacheEntry, fetch: Fetch): Promise<Verdict> {
    const issued = await this.#issueOrTryAgain(entry, fetch);
    if (entry.held !== undefined) this.#options.metrics?.refreshed(issued.ok);
    if (issued.ok) {
      const { sessionMs = 0, sessionRefreshMs } = this.#options;
      const refreshMs = refreshAfterMs(issued.lifeMs, { sessionMs, sessionRefreshMs, random: this.#random });
      entry.earlier = earlierSets(entry, present(this.#clock));
      entry.held = hold(issued.success.value, issued.lifeMs, refreshMs, present(this.#clock));
      entry.failure = undefined;
      this.#finish(entry, fetch, entry.held);
      for (const listener of this.#listeners) listener(entry.identity);
      this.#secondTries.earn();
      return 'answered';
    }
    const nowMs = this.#clock.monotonic();
    const { episode } = this.#limiter;
    const failure = rememberFailure(entry.failure, issued.failure, { nowMs, episode, random: this.#random });
    entry.failure = fetch.forgiven ? { ...failure, retryAtMs: nowMs } : failure;
    this.#finish(entry, fetch, issued.failure);
    return verdictOf(issued.failure);
  }

  /** One more try for waiting callers, unless STS as a whole is in trouble: a pod waits 900 ms, and most SDKs ask once. */
  async #issueOrTryAgain(entry: CacheEntry, fetch: Fetch): Promise<Issued> {
    const issued = await this.#issueCounted(entry);
    const isWorthIt = !issued.ok && issued.failure.isBrief && fetch.waiters.size > 0 && !this.#limiter.state.paused;
    if (!isWorthIt || !this.#secondTries.take()) return issued;
    await sleep(this.#clock, SECOND_TRY_AFTER_MS * (0.5 + this.#random()), this.#closing.signal);
    if (fetch.waiters.size === 0) return issued;
    this.#limiter.repeated();
    return this.#issueCounted(entry);
  }

  #issueCounted(entry: CacheEntry): Promise<Issued> {
    entry.calls += 1;
    return this.#issue(entry.identity);
  }

  #finish(entry: CacheEntry, fetch: Fetch, outcome: HeldCredentials | StsFailure): void {
    entry.fetch = undefined;
    if (entry.use === 'unused') this.#keepOrDrop(entry);
    for (const waiter of fetch.waiters) waiter(outcome);
    fetch.waiters.clear();
  }

  /** A live pod has the identity. */
  #use(entry: CacheEntry, use: EntryUse): void {
    entry.use = use;
    this.#unused.delete(entry.key);
  }

  /** It is renewed here only when a pod asks, early enough that the next one does not find it expired. */
  #renewIfDue(entry: CacheEntry, held: HeldCredentials, now: Moment): void {
    const rank = renewalRank(held, now);
    if (rank !== undefined && !this.#mustNotRetry(entry, now)) this.#fetch(entry, rank);
  }

  /** No live pod has the identity. */
  #release(entry: CacheEntry): void {
    entry.use = 'unused';
    if (entry.fetch?.waiters.size === 0 && this.#limiter.cancel(entry.key)) entry.fetch = undefined;
    if (entry.fetch === undefined) this.#keepOrDrop(entry);
  }

  #keepOrDrop(entry: CacheEntry): void {
    const isUseless = isOfOnePod(entry.identity.attribution) || servable(entry, present(this.#clock)) === undefined;
    const dropped = isUseless ? entry : this.#unused.add(entry);
    if (dropped === undefined) return;
    this.#entries.delete(dropped.key);
    this.#unused.delete(dropped.key);
  }

  /**
   * Looks at every entry once a second, by both clocks: a timer for each would sleep through a jump of the wall clock. At
   * 10,000 entries this takes about a millisecond.
   */
  #sweep(): void {
    this.#cancelSweep = this.#clock.after(SWEEP_INTERVAL_MS, () => this.#sweep());
    this.#noticeJump();
    const counts: Record<EntryState, number> = { fresh: 0, due: 0, failed: 0, empty: 0, asked: 0, unused: 0 };
    let size = 0;
    const now = present(this.#clock);
    for (const entry of this.#entries.values()) {
      if (entry.use === 'unused' && entry.fetch === undefined) this.#keepOrDrop(entry);
      // It will not be renewed, and there is no reason to keep an expired secret.
      if (entry.use === 'asked' && servable(entry, now) === undefined) entry.held = undefined;
      const rank = this.#mustNotRetry(entry, now) ? undefined : dueAs(entry, now);
      if (rank !== undefined) this.#fetch(entry, rank);
      counts[stateOf(entry, now)] += 1;
      if (entry.held !== undefined) size += 1;
    }
    this.#options.kiamMetrics?.cacheSize.set(size);
    this.#options.metrics?.observeEntries(counts);
    this.#options.metrics?.observeLimiter(this.#limiter.state);
  }

  /** A jump makes many sets due or dead in one moment, and their identities are wanted at once. */
  #noticeJump(): void {
    if (this.#hasJumped()) this.#limiter.spreadBacklog();
  }
}

/** A refusal of one role shows that STS is available; a failure on our own side shows nothing. */
function verdictOf({ category, code }: StsFailure): Verdict {
  switch (category) {
    case 'denied':
      return 'answered';
    case 'bad-request':
      // Without a code of STS the request was not sent.
      return code === '' ? 'nothing' : 'answered';
    case 'defect':
    case 'wrong-identity':
      return 'nothing';
    default:
      return category;
  }
}

function shuttingDown(): StsFailure {
  return unavailable('the server is shutting down');
}
