import type { PodLimits } from '#agent/limits.ts';

import { type FlagsOf, value } from './option.ts';
import { integer } from './values.ts';

const POD_LIMITS = 'Limits for each pod';

export const POD_LIMIT_OPTIONS = {
  'pod-concurrency': value(
    POD_LIMITS,
    integer(0, 100_000),
    '16',
    'Requests at a time, and connections where it is more than 16; 0 for no limit',
  ),
  'pod-rate': value(
    POD_LIMITS,
    integer(0, 1_000_000),
    '100',
    'Requests a second, with bursts of twice as many; 0 for no limit',
  ),
};

export function podLimits({ podConcurrency, podRate }: FlagsOf<typeof POD_LIMIT_OPTIONS>): PodLimits {
  return { concurrency: podConcurrency, ratePerSecond: podRate, burst: podRate * 2 };
}
