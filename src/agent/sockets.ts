import type { ConnectionLimits } from '#runtime/connection-limits.ts';

import type { PodLimits } from './limits.ts';

/** Connections of all addresses together, and how many of them are reserved for this node's pods. */
const IN_ALL = 4096;
const KEPT_FOR_PODS = 1024;

/** Each carries one request at a time, so more would be of no use. SDKs keep a handful at most. */
const LEAST_PER_ADDRESS = 16;

/** As many connections as requests may wait, and twice as many new ones a second as requests. */
export function connectionLimitsOf({ concurrency, ratePerSecond, burst }: PodLimits): ConnectionLimits {
  return {
    perAddress: concurrency === 0 ? IN_ALL : Math.max(LEAST_PER_ADDRESS, concurrency),
    inAll: IN_ALL,
    keptForNeighbours: KEPT_FOR_PODS,
    ratePerSecond: 2 * ratePerSecond,
    burst: 2 * burst,
  };
}
