import type { StsSuccess } from './sts.ts';

/** Credentials with less life than this would have to be fetched again at once. */
const SHORTEST_USEFUL_LIFE_MS = 90_000;

/** A clock that is off by less than this is tolerated; AWS accepts signatures within it. */
const TOLERATED_SKEW_MS = 5 * 60_000;

/** No session is longer than 12 h (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html); an hour for skew. */
const LONGEST_BELIEVED_LIFE_MS = 13 * 3_600_000;

export type Lifetime =
  | { readonly kind: 'believed'; readonly lifeMs: number }
  /** The expiry is further away than the session is long: `lifeMs` is the session's length. */
  | { readonly kind: 'corrected'; readonly lifeMs: number; readonly absurd: boolean }
  | { readonly kind: 'refused' };

/**
 * How long a set that STS has just issued may be used. STS's expiry is read by STS's own clock as far as that is known, and
 * never trusted beyond the length of the session that was granted: a slow clock here would stretch it.
 */
export function lifetimeOf({ value, grantedMs, clockOffsetMs }: StsSuccess, nowMs: number): Lifetime {
  const seenMs = value.expiresAtMs - (nowMs + clockOffsetMs);
  if (!Number.isFinite(seenMs) || seenMs < SHORTEST_USEFUL_LIFE_MS) return { kind: 'refused' };
  if (seenMs <= grantedMs + TOLERATED_SKEW_MS) return { kind: 'believed', lifeMs: Math.min(seenMs, grantedMs) };
  return { kind: 'corrected', lifeMs: grantedMs, absurd: seenMs > LONGEST_BELIEVED_LIFE_MS };
}

export interface RefreshRule {
  /** The length of the sessions that are asked for, in milliseconds. */
  readonly sessionMs: number;
  /** Renew a session of that length this long before its end, unless half of its life comes first; in milliseconds. */
  readonly sessionRefreshMs: number;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/** No set is renewed earlier in its life, whatever the flags say, unless half of its life is less. */
const EARLIEST_RENEWAL_MS = 5 * 60_000;

/** What is shorter than the session that was asked for by more than this part was granted for a shorter time. */
const AS_ASKED = 0.9;

/**
 * After how much of its life a set is renewed: at half, or `sessionRefreshMs` before its end where that is earlier. Always at
 * half where AWS granted less than was asked for, because the flag is meant for the full length, or less than the flag says. Up
 * to a twentieth sooner, so that credentials fetched together are not renewed together. The kubelet renews tokens in this
 * manner.
 */
export function refreshAfterMs(lifeMs: number, { sessionMs, sessionRefreshMs, random }: RefreshRule): number {
  const halfMs = lifeMs / 2;
  const isMeant = lifeMs >= sessionMs * AS_ASKED && lifeMs > sessionRefreshMs;
  const latestMs = isMeant ? Math.min(halfMs, Math.max(EARLIEST_RENEWAL_MS, lifeMs - sessionRefreshMs)) : halfMs;
  return latestMs * (1 - random() * 0.05);
}

/** How long before credentials may no longer be served their renewal becomes as urgent as a waiting pod. */
export function urgentBeforeDeathMs(lifeMs: number): number {
  return Math.min(5 * 60_000, lifeMs / 6);
}
