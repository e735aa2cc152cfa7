import type { ReviewSource } from '#domain/agent-token.ts';
import type { Clock } from '#runtime/clock.ts';

export interface ReviewLimit {
  /** Takes one review from the source's allowance; false when none is left for now. */
  take(source: ReviewSource): boolean;
  /** Gives it back: the token was a good one. */
  giveBack(source: ReviewSource): void;
}

/** An agent has one token at a time, and a new one every hour. */
const OF_ADDRESS = { most: 10, aSecond: 1 };

/** All addresses together that are no node's: agents call from there where an overlay network or NAT is between. */
const OF_CERTIFICATE = { most: 100, aSecond: 10 };

/** Sources remembered at a time. A forgotten one gets a new allowance, bounded by the limit of its certificate. */
const MOST_SOURCES = 10_000;

/**
 * Limits how many tokens that turn out not to be valid reach the API server: for each address, and for each certificate from
 * all addresses that are no node's. Agents share a certificate, so that one which floods must not use up what the agents of
 * other nodes need.
 */
export function createReviewLimit(clock: Clock): ReviewLimit {
  const addresses = createBuckets(clock, OF_ADDRESS);
  const certificates = createBuckets(clock, OF_CERTIFICATE);
  return {
    take: ({ address, isNode, certificate }) => {
      if (!addresses.take(address)) return false;
      if (isNode || certificates.take(certificate())) return true;
      addresses.giveBack(address);
      return false;
    },
    giveBack: ({ address, isNode, certificate }) => {
      addresses.giveBack(address);
      if (!isNode) certificates.giveBack(certificate());
    },
  };
}

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

/** Token buckets by key. */
function createBuckets(clock: Clock, { most, aSecond }: { readonly most: number; readonly aSecond: number }) {
  const buckets = new Map<string, Bucket>();
  const leftOf = (key: string): number => {
    const { left, atMs } = buckets.get(key) ?? { left: most, atMs: 0 };
    return Math.min(most, left + ((clock.monotonic() - atMs) / 1000) * aSecond);
  };
  const set = (key: string, left: number): void => {
    buckets.delete(key);
    const [oldest] = buckets.keys();
    if (buckets.size >= MOST_SOURCES && oldest !== undefined) buckets.delete(oldest);
    buckets.set(key, { left: Math.min(most, left), atMs: clock.monotonic() });
  };
  return {
    take: (key: string): boolean => {
      const left = leftOf(key);
      if (left < 1) return false;
      set(key, left - 1);
      return true;
    },
    giveBack: (key: string): void => set(key, leftOf(key) + 1),
  };
}
