import type { Registry } from 'prom-client';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { EntryState } from './cache-entry.ts';
import type { StsCategory } from './sts.ts';

/** Kiam's own metrics, as `createStsMetrics` of telemetry makes them. */
export interface KiamStsMetrics {
  readonly cacheSize: { set(value: number): void };
  readonly cacheHits: { inc(): void };
  readonly cacheMisses: { inc(): void };
  readonly issuingErrors: { inc(): void };
  readonly assumeRoleTiming: { observe(seconds: number): void };
  readonly assumeRoleCurrent: { inc(): void; dec(): void };
}

/** What the credential cache reports in addition to Kiam's metrics. */
export interface CredentialCacheMetrics {
  /** Credentials were handed to a pod with this much life left. */
  served(remainingSeconds: number): void;
  /** A pod that could not be served from memory got its answer, or gave up, after this time. */
  waited(seconds: number): void;
  /** A call to STS ended; the category is undefined for a success. */
  called(category: StsCategory | undefined): void;
  /** How much of the space for session tags and policies a session takes, in percent. */
  packed(percent: number): void;
  /** A renewal of credentials ended. */
  refreshed(isRenewed: boolean): void;
  /** How many entries there are of each state, and how the limiter rates STS. */
  observeEntries(counts: Readonly<Record<EntryState, number>>): void;
  observeLimiter(state: { readonly limit: number; readonly waiting: number; readonly paused: boolean }): void;
}

/** Makes the cache's further metrics in a registry; once per registry. */
export function createCredentialCacheMetrics(registry: Registry): CredentialCacheMetrics {
  const registers = [registry];
  const served = new Histogram({
    name: 'kiam_sts_served_remaining_seconds',
    help: 'Life left in credentials at the moment they were served',
    buckets: [60, 120, 300, 600, 900, 1500, 1800, 2700, 3600, 7200, 21_600, 43_200],
    registers,
  });
  const waited = new Histogram({
    name: 'kiam_sts_wait_seconds',
    help: 'How long callers waited for credentials that were not in memory',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.9, 2, 5, 10],
    registers,
  });
  const calls = new Counter({
    name: 'kiam_sts_calls_total',
    help: 'AssumeRole calls for pods by outcome and reason: throttled, denied, unavailable, own-credentials, bad-request, defect, wrong-identity',
    labelNames: ['outcome', 'reason'],
    registers,
  });
  const packed = new Histogram({
    name: 'kiam_sts_packed_policy_percent',
    help: 'How much of the space that STS has for session tags and policies sessions take, in percent: above 100 calls fail',
    buckets: [10, 25, 50, 60, 70, 80, 90, 100],
    registers,
  });
  const refreshes = new Counter({
    name: 'kiam_sts_refreshes_total',
    help: 'Renewals of credentials in the background by outcome',
    labelNames: ['outcome'],
    registers,
  });
  const entries = new Gauge({
    name: 'kiam_sts_entries',
    help: "Identities in the credential cache by state: fresh, due, failed, empty, asked (for a pod of another replica's node), unused (without a pod)",
    labelNames: ['state'],
    registers,
  });
  const limit = new Gauge({
    name: 'kiam_sts_calls_limit',
    help: 'How many calls to STS may be in flight at present',
    registers,
  });
  const waiting = new Gauge({
    name: 'kiam_sts_calls_waiting',
    help: 'Calls to STS that wait for their turn',
    registers,
  });
  const paused = new Gauge({
    name: 'kiam_sts_paused',
    help: '1 while STS counts as unavailable and is only probed',
    registers,
  });
  return {
    served: (remainingSeconds) => served.observe(remainingSeconds),
    waited: (seconds) => waited.observe(seconds),
    called: (category) =>
      calls.inc({ outcome: category === undefined ? 'success' : 'failure', reason: category ?? '' }),
    packed: (percent) => packed.observe(percent),
    refreshed: (isRenewed) => refreshes.inc({ outcome: isRenewed ? 'renewed' : 'failed' }),
    observeEntries: (counts) => {
      for (const [state, count] of Object.entries(counts)) entries.set({ state }, count);
    },
    observeLimiter: (state) => {
      limit.set(state.limit);
      waiting.set(state.waiting);
      paused.set(state.paused ? 1 : 0);
    },
  };
}

/** Makes the gauge of the server's own credentials, in seconds; negative once they have expired. */
export function createServerCredentialsMetric(registry: Registry): { set(seconds: number): void } {
  const gauge = new Gauge({
    name: 'kiam_sts_server_credentials_seconds',
    help: "Life left in the server's own AWS credentials; NaN for credentials that do not expire",
    registers: [registry],
  });
  // A gauge that nobody has set yet would show 0, for which an alert fires.
  gauge.set(Number.NaN);
  return gauge;
}
