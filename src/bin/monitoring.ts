import type { Registry } from 'prom-client';

import { startMetricsListener } from '#telemetry/listener.ts';
import { startProfileListener } from '#telemetry/pprof.ts';

import type { Daemon } from './daemon.ts';
import type { MonitoringFlags } from './flags/common.ts';

const CLOSE_LIMIT_MS = 1000;

/** Starts the listeners for metrics, probes and profiles, where the flags ask for them. */
export function startMonitoring(
  { prometheusAddress, pprofAddress }: MonitoringFlags,
  { clock, logger, shutdown }: Daemon,
  registry: Registry,
  readiness: () => readonly string[],
): void {
  if (prometheusAddress !== undefined) {
    const listener = startMetricsListener({ address: prometheusAddress, registry, readiness, logger, clock });
    shutdown.add({ name: 'metrics', limitMs: CLOSE_LIMIT_MS, close: () => listener.close() });
  }
  if (pprofAddress !== undefined) {
    const listener = startProfileListener({ address: pprofAddress, logger, clock });
    shutdown.add({ name: 'pprof', limitMs: CLOSE_LIMIT_MS, close: () => listener.close() });
  }
}
