import { formatListenAddress, isLoopbackHost, type ListenAddress } from '#telemetry/listen-address.ts';
import type { FlagsOf } from './option.ts';
import type { MONITORING_OPTIONS } from './table.ts';

type ProfileFlags = Pick<FlagsOf<typeof MONITORING_OPTIONS>, 'pprofListenAddr' | 'pprofAllowRemote'>;

/** Where profiles are served. Profiling slows a daemon down, so that remote clients have to be allowed. */
export function profileAddress({ pprofListenAddr, pprofAllowRemote }: ProfileFlags): ListenAddress | undefined {
  const isServed = pprofAllowRemote || (pprofListenAddr !== undefined && isLoopbackHost(pprofListenAddr.host));
  return isServed ? pprofListenAddr : undefined;
}

/** Kiam listens at any address, so that a manifest may have one: the daemon starts without profiles. */
export function monitoringWarnings(flags: ProfileFlags): string[] {
  if (flags.pprofListenAddr === undefined || profileAddress(flags) !== undefined) return [];
  const address = formatListenAddress(flags.pprofListenAddr);
  return [
    `--pprof-listen-addr=${address} is no loopback address, so nothing listens there: it needs --pprof-allow-remote`,
  ];
}
