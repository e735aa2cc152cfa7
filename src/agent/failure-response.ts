import type { Failure, FailureKind } from '#domain/failure.ts';

import { type Answer, errorAnswer } from './answer.ts';

/**
 * Which status a pod's SDK is told (docs/specification.md, 3). 503 is what may work in a second; 403 and 404 will not
 * before someone changes an annotation; SDKs do not repeat them. Kiam answers 500 to all but 404.
 */
const STATUSES: Readonly<Record<FailureKind, number>> = {
  'pod-not-found': 503,
  'multiple-pods': 503,
  'view-stale': 503,
  'sts-throttled': 503,
  'sts-unavailable': 503,
  'server-unavailable': 503,
  'timed-out': 503,
  'role-empty': 404,
  forbidden: 403,
  'sts-refused': 500,
  internal: 500,
};

/** Kiam's texts, which people search their logs for. `pod-not-found` has one for each question. */
const EMPTY_ROLE = 'empty role';
const FORBIDDEN = 'forbidden by policy';

export function emptyRoleAnswer(): Answer {
  return errorAnswer(STATUSES['role-empty'], EMPTY_ROLE, true);
}

/** The answer to a pod whose role could not be found. */
export function roleFailureAnswer(failure: Failure): Answer {
  if (failure.kind === 'role-empty') return emptyRoleAnswer();
  return errorAnswer(STATUSES[failure.kind], messageOf(failure, 'pod not found'));
}

/** The answer to a pod that gets no credentials. */
export function credentialsFailureAnswer(failure: Failure): Answer {
  if (failure.kind === 'role-empty') return emptyRoleAnswer();
  const message = messageOf(failure, 'no pod found');
  return errorAnswer(STATUSES[failure.kind], `error fetching credentials: ${message}`);
}

/** The answer to a pod that asked for container credentials by its token. The kind of the failure alone says the status. */
export function containerFailureAnswer(failure: Failure): Answer {
  if (failure.kind === 'role-empty') return emptyRoleAnswer();
  return errorAnswer(STATUSES[failure.kind], failure.message);
}

function messageOf(failure: Failure, podNotFound: string): string {
  if (failure.kind === 'pod-not-found') return podNotFound;
  return failure.kind === 'forbidden' ? FORBIDDEN : failure.message;
}
