import type { Registry } from 'prom-client';

import { startMetricsListener } from '#telemetry/listener.ts';
import { startProfileListener } from '#telemetry/pprof.ts';

import type { Daemon } from './daemon.ts';
import { profileAddress } from './flags/monitoring.ts';
import type { FlagsOf } from './flags/option.ts';
import type { MONITORING_OPTIONS } from './flags/table.ts';

const CLOSE_LIMIT_MS = 1000;

/** Starts the listeners for metrics, probes and profiles, where the flags ask for them. */
export function startMonitoring(
  flags: Pick<FlagsOf<typeof MONITORING_OPTIONS>, 'prometheusListenAddr' | 'pprofListenAddr' | 'pprofAllowRemote'>,
  { clock, logger, shutdown }: Daemon,
  registry: Registry,
  readiness: () => readonly string[],
): void {
  const { prometheusListenAddr } = flags;
  const profiles = profileAddress(flags);
  if (prometheusListenAddr !== undefined) {
    const listener = startMetricsListener({ address: prometheusListenAddr, registry, readiness, logger, clock });
    shutdown.add({ name: 'metrics', limitMs: CLOSE_LIMIT_MS, close: () => listener.close() });
  }
  if (profiles !== undefined) {
    const listener = startProfileListener({ address: profiles, logger, clock });
    shutdown.add({ name: 'pprof', limitMs: CLOSE_LIMIT_MS, close: () => listener.close() });
  }
}
