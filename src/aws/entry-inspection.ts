import type { CredentialInspection, NextCall } from '#domain/credentials.ts';
import type { CacheEntry, Moment } from './cache-entry.ts';
import { servable, untilMs } from './cache-entry.ts';
import { stands } from './failure-memory.ts';
import { isTransient } from './sts.ts';

/** Reads an entry without changing it; `undefined` stands for an identity that the cache does not have. */
export function inspectEntry(
  entry: CacheEntry | undefined,
  now: Moment,
  { episode, isPaused }: { readonly episode: number; readonly isPaused: boolean },
): CredentialInspection {
  if (entry === undefined) {
    return { held: undefined, failure: undefined, isCalling: false, next: undefined, isPaused, calls: 0 };
  }
  const { held, failure } = entry;
  return {
    held: held && {
      isServed: servable(entry, now) !== undefined,
      issuedAtMs: held.credentials.issuedAtMs,
      expiresAtMs: held.credentials.expiresAtMs,
      remainingMs: untilMs(held.endsAt, now),
    },
    failure: failure && {
      category: failure.outcome.category,
      code: failure.outcome.code,
      detail: failure.outcome.detail,
      agoMs: now.monotonicMs - failure.atMs,
      count: failure.count,
    },
    isCalling: entry.fetch !== undefined,
    next: nextCall(entry, now, episode),
    isPaused,
    calls: entry.calls,
  };
}

/** As the cache's sweep decides it: {@link import('./cache-entry.ts').dueAs}. */
function nextCall(entry: CacheEntry, now: Moment, episode: number): NextCall | undefined {
  // Nothing is fetched without a pod, or for a pod of another replica's node before it asks.
  if (entry.use !== 'renewed') return undefined;
  const { failure } = entry;
  const standsMs =
    failure !== undefined && stands(failure, now.monotonicMs, episode) ? failure.retryAtMs - now.monotonicMs : 0;
  const held = servable(entry, now);
  if (held !== undefined) return { inMs: Math.max(0, untilMs(held.refreshAt, now), standsMs), isAutomatic: true };
  if (failure !== undefined) return { inMs: standsMs, isAutomatic: isTransient(failure.outcome.category) };
  return entry.held === undefined
    ? undefined
    : { inMs: Math.max(0, untilMs(entry.held.refreshAt, now)), isAutomatic: true };
}
