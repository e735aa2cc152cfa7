import { isLoopbackHost } from '#telemetry/listen-address.ts';
import type { FlagsOf } from './option.ts';
import type { MONITORING_OPTIONS } from './table.ts';

/** Profiling slows a daemon down, so that remote clients have to be allowed. */
export function monitoringProblems(flags: FlagsOf<typeof MONITORING_OPTIONS>): string[] {
  const address = flags.pprofListenAddr;
  if (address === undefined || isLoopbackHost(address.host) || flags.pprofAllowRemote) return [];
  return ['--pprof-listen-addr must be a loopback address such as localhost:6060, or --pprof-allow-remote be given'];
}
