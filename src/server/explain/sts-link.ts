import { awsTimestamp, type CredentialInspection, type FailureInspection } from '#domain/credentials.ts';

import { inSeconds, type Link, spoken } from './explanation.ts';

/**
 * What STS last said of the pod's identity, and what is left of its credentials. `hasStream` of the node's agent to this
 * replica.
 */
export function credentialsLink(inspection: CredentialInspection, hasStream = true): Link {
  const { held, failure, isCalling, next, isPaused } = inspection;
  const isElsewhere = !hasStream && held === undefined && failure === undefined && !isCalling;
  return {
    link: 'credentials',
    verdict: held?.isServed === true ? 'ok' : failure === undefined && held === undefined ? 'unknown' : 'no',
    text: isElsewhere ? HELD_ELSEWHERE : inWords(inspection),
    facts: {
      served: held?.isServed ?? false,
      issuedAt: held === undefined ? null : awsTimestamp(held.issuedAtMs),
      expiresAt: held === undefined ? null : awsTimestamp(held.expiresAtMs),
      remainingSeconds: held === undefined ? null : inSeconds(held.remainingMs),
      failure: failure === undefined ? null : failure.category,
      failureCode: failure === undefined ? null : failure.code,
      failureText: failure === undefined ? null : failure.detail,
      failedSecondsAgo: failure === undefined ? null : inSeconds(failure.agoMs),
      failures: failure?.count ?? 0,
      calling: isCalling,
      nextCallInSeconds: next === undefined ? null : inSeconds(next.inMs),
      nextCallIsAutomatic: next?.isAutomatic ?? null,
      paused: isPaused,
    },
  };
}

const HELD_ELSEWHERE =
  "this replica holds none: the replica that has the stream of the node's agent fetches and renews them, and this one when a pod asks it";

function inWords({ held, failure, isCalling, next, isPaused }: CredentialInspection): string {
  const parts: string[] = [];
  if (held?.isServed === true) {
    const life = `STS issued them at ${awsTimestamp(held.issuedAtMs)}; ${spoken(held.remainingMs)} are left`;
    parts.push(`${life}, until ${awsTimestamp(held.expiresAtMs)}`);
  } else if (held !== undefined) {
    parts.push(`the last ones ended at ${awsTimestamp(held.expiresAtMs)}`);
  }
  if (failure !== undefined) parts.push(failureInWords(failure));
  if (parts.length === 0) parts.push('STS has not answered yet');
  if (isCalling) parts.push('STS is being called now');
  else if (next !== undefined) parts.push(`${held?.isServed === true ? 'renewed' : 'next try'} ${whenOf(next)}`);
  if (isPaused) parts.push('STS does not answer at all, so calls are held back');
  return parts.join('; ');
}

function failureInWords(failure: FailureInspection): string {
  const times = failure.count > 1 ? ` (${failure.count} times in a row)` : '';
  return `STS failed ${spoken(failure.agoMs)} ago${times}: ${failure.detail}`;
}

function whenOf({ inMs, isAutomatic }: { readonly inMs: number; readonly isAutomatic: boolean }): string {
  if (isAutomatic) return inMs === 0 ? 'at the next opportunity' : `in ${spoken(inMs)}`;
  return inMs === 0 ? 'when the pod asks' : `when the pod asks, in ${spoken(inMs)} at the earliest`;
}
