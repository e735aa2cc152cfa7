import type { FlagsOf } from './flags/option.ts';
import type { ServerFlags } from './flags/server.ts';
import type { GATEWAY_OPTIONS, KEEPALIVE_OPTIONS } from './flags/table.ts';

/** What grpc-go takes for 0 (https://pkg.go.dev/google.golang.org/grpc@v1.36.0/keepalive). */
const SERVER_TIME_MS = 7_200_000;
const TIMEOUT_MS = 20_000;
/** `grpc.WithKeepaliveParams` raises whatever is below this, and so 0. */
const CLIENT_TIME_MS = 10_000;

/** What grpc-js takes for "never", and the longest that a timer of Node can be: some 24 days. */
const NEVER_MS = 2_147_483_647;

/** The longest age that grpc-js can measure: it adds up to a tenth at random. */
const LONGEST_AGE_MS = NEVER_MS * 0.9;

/** How a server pings idle connections. */
export function serverKeepalive(flags: FlagsOf<typeof KEEPALIVE_OPTIONS>): { timeMs: number; timeoutMs: number } {
  return {
    timeMs: bounded(flags.grpcKeepaliveTimeDurationMs, SERVER_TIME_MS),
    timeoutMs: bounded(flags.grpcKeepaliveTimeoutDurationMs, TIMEOUT_MS),
  };
}

/** How a client of the server pings them. */
export function clientKeepalive(
  flags: FlagsOf<typeof KEEPALIVE_OPTIONS & typeof GATEWAY_OPTIONS>,
): ReturnType<typeof serverKeepalive> & { permitWithoutStream: boolean } {
  return {
    timeMs: bounded(flags.grpcKeepaliveTimeDurationMs, CLIENT_TIME_MS),
    timeoutMs: bounded(flags.grpcKeepaliveTimeoutDurationMs, TIMEOUT_MS),
    permitWithoutStream: flags.grpcKeepalivePermitWithoutStream,
  };
}

/** How long connections to a server live. 0 is for ever, as in grpc-go, and so is what no timer can measure. */
export function connectionBounds(
  flags: Pick<
    ServerFlags,
    'grpcMaxConnectionIdleDurationMs' | 'grpcMaxConnectionAgeDurationMs' | 'grpcMaxConnectionAgeGraceDurationMs'
  >,
): { maxConnectionIdleMs: number; maxConnectionAgeMs: number; maxConnectionAgeGraceMs: number } {
  const ageMs = bounded(flags.grpcMaxConnectionAgeDurationMs, NEVER_MS);
  return {
    maxConnectionIdleMs: bounded(flags.grpcMaxConnectionIdleDurationMs, NEVER_MS),
    maxConnectionAgeMs: ageMs > LONGEST_AGE_MS ? NEVER_MS : ageMs,
    maxConnectionAgeGraceMs: bounded(flags.grpcMaxConnectionAgeGraceDurationMs, NEVER_MS),
  };
}

/** What a timer can measure: `ifZeroMs` in place of 0, at least 1 ms, at most {@link NEVER_MS}. */
function bounded(valueMs: number, ifZeroMs: number): number {
  return valueMs === 0 ? ifZeroMs : Math.min(Math.max(valueMs, 1), NEVER_MS);
}
