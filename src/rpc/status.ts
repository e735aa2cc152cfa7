import { Metadata, status } from '@grpc/grpc-js';

import type { Failure, FailureKind } from '#domain/failure.ts';
import { grpcCodeName } from '#telemetry/grpc-metrics.ts';

/** What a server says when it refuses a call. */
export interface WireStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** A trailer that names the failure's kind exactly. Kiam's programs neither send nor read it. */
const KIND_KEY = 'kiam-failure';

/** A trailer that says for how long the refusal stands, in whole milliseconds; none where it may change at any moment. */
const STANDS_KEY = 'kiam-stands-for-ms';

/** Meaningful codes; Kiam answers `UNKNOWN` to all of them, and its agent reads the text alone. */
const CODES: Readonly<Record<FailureKind, status>> = {
  'pod-not-found': status.NOT_FOUND,
  'multiple-pods': status.FAILED_PRECONDITION,
  'view-stale': status.UNAVAILABLE,
  'role-empty': status.FAILED_PRECONDITION,
  forbidden: status.PERMISSION_DENIED,
  'sts-refused': status.FAILED_PRECONDITION,
  'sts-throttled': status.UNAVAILABLE,
  'sts-unavailable': status.UNAVAILABLE,
  'server-unavailable': status.UNAVAILABLE,
  'timed-out': status.DEADLINE_EXCEEDED,
  internal: status.INTERNAL,
};

export function statusOf(failure: Failure): WireStatus {
  const metadata = new Metadata();
  metadata.set(KIND_KEY, failure.kind);
  const standsForMs = Math.floor(failure.standsForMs ?? 0);
  if (standsForMs > 0) metadata.set(STANDS_KEY, String(standsForMs));
  return { code: CODES[failure.kind], details: failure.message, metadata };
}

/** The texts by which Kiam's agent tells errors apart (Kiam, `pkg/server/gateway.go` and `pkg/server/server.go`). */
const KIAM_TEXTS: readonly (readonly [string, FailureKind])[] = [
  ['forbidden by policy', 'forbidden'],
  ['multiple running pods found', 'multiple-pods'],
  ['no pod found', 'pod-not-found'],
  ['pod not found', 'pod-not-found'],
  ["role can't be empty", 'role-empty'],
];

/** STS's codes for failures that may not happen again (https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html). */
const PASSING_STS_CODES = /^(InternalFailure|ServiceUnavailable|RequestError)\b/;
const THROTTLING_STS_CODES = /^(Throttling|ThrottlingException|RequestLimitExceeded)\b/;
const STS_CODE = /^([A-Z][A-Za-z.]{2,63}): /;

/** The failure behind a status that a server, ours or Kiam's, has sent. */
export function failureOf(answer: { code: status; details: string; metadata: Metadata }): Failure {
  const kind = answer.metadata.get(KIND_KEY)[0];
  if (typeof kind === 'string' && isFailureKind(kind)) {
    const standsForMs = Number(answer.metadata.get(STANDS_KEY)[0] ?? 0);
    return { kind, message: answer.details, ...(standsForMs > 0 ? { standsForMs } : {}) };
  }
  const known = KIAM_TEXTS.find(([text]) => answer.details.includes(text));
  if (known !== undefined) return { kind: known[1], message: known[0] };
  // INTERNAL without our trailer is the transport's: a connection that broke in the middle of an answer.
  if ([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL].includes(answer.code)) {
    return { kind: 'server-unavailable', message: 'no server could be reached' };
  }
  if (answer.code === status.DEADLINE_EXCEEDED) {
    return { kind: 'timed-out', message: 'no server answered in time' };
  }
  return answer.code === status.UNKNOWN ? failureOfKiamText(answer.details) : internal(answer);
}

/** Kiam's server passes on the text of STS, which names the server's own role: only the code goes further. */
function failureOfKiamText(details: string): Failure {
  const code = STS_CODE.exec(details)?.[1];
  // Kiam's server ends its call of STS when one caller's time is up, for all who wait for it: it makes another.
  if (code === 'RequestCanceled' || details.includes('context deadline exceeded')) {
    return { kind: 'timed-out', message: 'the server got no credentials in time' };
  }
  if (code !== undefined) {
    if (THROTTLING_STS_CODES.test(code)) return { kind: 'sts-throttled', message: code };
    return { kind: PASSING_STS_CODES.test(code) ? 'sts-unavailable' : 'sts-refused', message: code };
  }
  return internal({ code: status.UNKNOWN });
}

function internal(answer: { code: status }): Failure {
  return { kind: 'internal', message: `the server failed with gRPC code ${grpcCodeName(answer.code)}` };
}

function isFailureKind(text: string): text is FailureKind {
  return Object.hasOwn(CODES, text);
}

/** Whether a server does not know a method: an older one, or Kiam's. */
export function isUnimplemented(code: status): boolean {
  return code === status.UNIMPLEMENTED;
}
