import type { Failure, FailureKind } from '#domain/failure.ts';

/** The failures that another attempt may change; the later in the list, the more it tells. */
const PASSING: readonly FailureKind[] = ['server-unavailable', 'view-stale', 'timed-out', 'pod-not-found'];

/** Whether the same question may soon be answered otherwise, by this replica or by another. */
export function isWorthAnotherAttempt({ kind }: Failure): boolean {
  return PASSING.includes(kind);
}

/**
 * Whether the failure may be that of one server: STS failed it, or its own credentials do not work. Another one may have the
 * credentials in memory. Each is asked once: what it says of STS stands for a while.
 */
export function isOneServersTrouble({ kind }: Failure): boolean {
  return kind === 'sts-unavailable';
}

/** Whether nobody can be asked: no server was there, or none that has the API server to ask. */
export function isOutOfReach({ kind }: Failure): boolean {
  return kind === 'server-unavailable' || kind === 'view-stale';
}

/** That no server was there says less than what another attempt was told, and the last word says more than the one before. */
export function moreTelling(earlier: Failure | undefined, later: Failure): Failure {
  if (earlier === undefined || !isWorthAnotherAttempt(later)) return later;
  if (isOneServersTrouble(earlier)) return earlier;
  return PASSING.indexOf(later.kind) < PASSING.indexOf(earlier.kind) ? earlier : later;
}

export const NO_TIME: Failure = { kind: 'timed-out', message: 'no server answered in time' };
