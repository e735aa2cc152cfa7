import { monitoringWarnings } from './monitoring.ts';
import type { FlagsOf } from './option.ts';
import { sessionProblems } from './sessions.ts';
import type { SERVER_OPTIONS } from './table.ts';

export type ServerFlags = FlagsOf<typeof SERVER_OPTIONS>;

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: a chained session lasts one hour at most. */
const LONGEST_CHAINED_SESSION_MS = 3_600_000;

/** Problems of flags that do not go together, one line each. */
export function serverProblems(flags: ServerFlags, given: ReadonlySet<string>): string[] {
  const problems = sessionProblems(flags, given);
  if (!given.has('role-base-arn') && !flags.roleBaseArnAutodetect) {
    problems.push('one of --role-base-arn and --role-base-arn-autodetect must be given');
  }
  if (flags.assumeRoleArn !== '' && flags.sessionDurationMs > LONGEST_CHAINED_SESSION_MS) {
    problems.push('--session-duration may be at most 1h with --assume-role-arn: AWS refuses more for chained roles');
  }
  return problems;
}

type Durations = Pick<ServerFlags, 'sessionDurationMs' | 'sessionRefreshMs'>;

/**
 * Kiam's manifests set `--session-duration=15m` without `--session-refresh`, and some people set a duration shorter than the
 * refresh.
 */
function refreshTakesTooLong({ sessionDurationMs, sessionRefreshMs = 0 }: Durations): boolean {
  return sessionRefreshMs >= sessionDurationMs;
}

export function serverWarnings(flags: ServerFlags, given: ReadonlySet<string>): string[] {
  const warnings = monitoringWarnings(flags);
  if (refreshTakesTooLong(flags)) {
    warnings.push('--session-refresh is not below --session-duration: half of the duration is used instead');
  }
  if (!given.has('agent-identity')) warnings.push(WHAT_AUTO_LEAVES_OPEN);
  return warnings;
}

const WHAT_AUTO_LEAVES_OPEN =
  '--agent-identity is not given, so auto: an agent certificate that is used from an address which is no node’s gets the ' +
  'credentials of every pod, and so does whoever is root on a node; --agent-identity=token holds each agent to its node';

/**
 * How long before they expire credentials are replaced: as given if that is shorter than the duration, else half of the
 * duration.
 */
export function refreshBeforeExpiryMs(flags: Durations): number {
  const half = flags.sessionDurationMs / 2;
  return refreshTakesTooLong(flags) ? half : (flags.sessionRefreshMs ?? half);
}
