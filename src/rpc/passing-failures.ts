import type { Failure, FailureKind } from '#domain/failure.ts';

/** The failures that another attempt may change, the least informative first. */
const PASSING: readonly FailureKind[] = ['server-unavailable', 'view-stale', 'timed-out', 'pod-not-found'];

/** Whether another attempt may get a different answer soon, from this replica or another. */
export function isWorthAnotherAttempt({ kind }: Failure): boolean {
  return PASSING.includes(kind);
}

/**
 * Whether the failure may concern one server only: STS failed it, or its own credentials do not work. Another may hold the
 * credentials in memory. Each is called once, because its answer about STS will not change at once.
 */
export function isOneServersTrouble({ kind }: Failure): boolean {
  return kind === 'sts-unavailable';
}

/** Whether no server can answer: none was reachable, or none could reach the API server. */
export function isOutOfReach({ kind }: Failure): boolean {
  return kind === 'server-unavailable' || kind === 'view-stale';
}

/** Of two failures the more informative one; of two equally informative ones the later. */
export function moreTelling(earlier: Failure | undefined, later: Failure): Failure {
  if (earlier === undefined || !isWorthAnotherAttempt(later)) return later;
  if (isOneServersTrouble(earlier)) return earlier;
  return PASSING.indexOf(later.kind) < PASSING.indexOf(earlier.kind) ? earlier : later;
}

export const NO_TIME: Failure = { kind: 'timed-out', message: 'no server answered in time' };
