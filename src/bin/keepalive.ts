import type { FlagsOf } from './flags/option.ts';
import type { GATEWAY_OPTIONS, KEEPALIVE_OPTIONS } from './flags/table.ts';

/** How a server pings idle connections. */
export function serverKeepalive(flags: FlagsOf<typeof KEEPALIVE_OPTIONS>): { timeMs: number; timeoutMs: number } {
  return { timeMs: flags.grpcKeepaliveTimeDurationMs, timeoutMs: flags.grpcKeepaliveTimeoutDurationMs };
}

/** How a client of the server pings them. */
export function clientKeepalive(
  flags: FlagsOf<typeof KEEPALIVE_OPTIONS & typeof GATEWAY_OPTIONS>,
): ReturnType<typeof serverKeepalive> & { permitWithoutStream: boolean } {
  return { ...serverKeepalive(flags), permitWithoutStream: flags.grpcKeepalivePermitWithoutStream };
}
