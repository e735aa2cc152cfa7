import { failed, type FailureKind } from '#domain/failure.ts';
import { beginningOf, shortened } from '#runtime/text.ts';
import { MASK } from '#telemetry/fields.ts';
import type { StsCategory, StsFailure } from './sts.ts';

/** What is known of an error once it has been read: see {@link readStsError}. */
export interface StsErrorFacts {
  /** STS's code; `''` when the error is not STS's own. */
  readonly code: string;
  readonly message: string;
  /** The HTTP status of STS's answer; undefined when there was none. */
  readonly status: number | undefined;
  /** The connection broke before there was an answer, as connections do that were idle for long. */
  readonly isBroken?: boolean;
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html, and the codes that STS sends in practice. */
const CATEGORY_BY_CODE: ReadonlyMap<string, StsCategory> = new Map([
  ['Throttling', 'throttled'],
  ['ThrottlingException', 'throttled'],
  ['ThrottledException', 'throttled'],
  ['RequestThrottled', 'throttled'],
  ['RequestLimitExceeded', 'throttled'],
  ['TooManyRequestsException', 'throttled'],
  ['AccessDenied', 'denied'],
  ['AccessDeniedException', 'denied'],
  ['RegionDisabledException', 'denied'],
  ['RegionDisabled', 'denied'],
  ['ExpiredToken', 'own-credentials'],
  ['ExpiredTokenException', 'own-credentials'],
  ['InvalidClientTokenId', 'own-credentials'],
  ['UnrecognizedClientException', 'own-credentials'],
  ['SignatureDoesNotMatch', 'own-credentials'],
  ['IncompleteSignature', 'own-credentials'],
  ['RequestExpired', 'own-credentials'],
  ['RequestTimeTooSkewed', 'own-credentials'],
  ['MissingAuthenticationToken', 'own-credentials'],
  ['OptInRequired', 'own-credentials'],
  ['NotAuthorized', 'own-credentials'],
  ['InternalFailure', 'unavailable'],
  ['InternalError', 'unavailable'],
  ['ServiceUnavailable', 'unavailable'],
  ['RequestTimeout', 'unavailable'],
  ['TimeoutError', 'unavailable'],
  ['ValidationError', 'bad-request'],
  ['PackedPolicyTooLarge', 'bad-request'],
  ['MalformedPolicyDocument', 'bad-request'],
]);

/** Classifies a failed call once, for all code that acts on it. */
export function stsFailure(facts: StsErrorFacts): StsFailure {
  const category = categoryOf(facts);
  const detail = facts.code === '' ? facts.message : `${facts.code}: ${facts.message}`;
  const isBrief = category === 'unavailable' && (facts.status !== undefined || facts.isBroken === true);
  return { ...failureOf(category, facts.code, detail), isBrief };
}

/**
 * The same failure without an external id, which is half a secret (docs/specification.md, 11). STS quotes what it was sent
 * where it calls that malformed, and the quotation may be cut: of such an answer only the code is kept.
 */
export function withoutExternalId(failure: StsFailure, externalId: string): StsFailure {
  if (externalId === '') return failure;
  const { category, code, detail } = failure;
  return { ...failure, detail: category === 'bad-request' ? code : detail.replaceAll(externalId, MASK) };
}

/** The server's own credentials are not available: `step` says which of them, for people. */
export function ownCredentialsFailure(step: string, { code, detail }: { code: string; detail: string }): StsFailure {
  return failureOf('own-credentials', code, `${step}: ${detail}`);
}

/** A failure without an answer of STS: none came in time, or it made no sense. */
export function unavailable(detail: string): StsFailure {
  return failureOf('unavailable', '', detail);
}

/** The caller's time is up while STS is being asked, or the call waits for its turn: it goes on, and asking again is worth it. */
export function stillAsked(): StsFailure {
  const detail = 'AWS STS did not answer in time';
  return { ...unavailable(detail), ...failed('timed-out', detail) };
}

/** A request that STS would refuse was not sent. `problem` repeats no external id. */
export function invalidRequest(problem: string): StsFailure {
  return failureOf('bad-request', '', problem);
}

/** An exception of our own side; its text stays with us, for it may quote what the call was made of. */
export function defect(error: unknown): StsFailure {
  const name = error instanceof Error && NAMES_WITHOUT_MEANING.has(error.name) ? error.name : 'an exception';
  return failureOf('defect', '', `the server failed to ask AWS STS: ${name}`);
}

/** STS answered for another role or session; `sessionArn` is whose credentials they are. */
export function wrongIdentity(sessionArn: string): StsFailure {
  return failureOf(
    'wrong-identity',
    '',
    `AWS STS answered with credentials of ${JSON.stringify(shortened(sessionArn, 200))}`,
  );
}

function failureOf(category: StsCategory, code: string, detail: string): StsFailure {
  const suffix = code === '' ? '' : `: ${code}`;
  const { failure } = failed(KIND_BY_CATEGORY[category], `${TEXT_BY_CATEGORY[category]}${suffix}`);
  return { ok: false, failure, detail, category, code, isBrief: false };
}

const KIND_BY_CATEGORY: Readonly<Record<StsCategory, FailureKind>> = {
  throttled: 'sts-throttled',
  denied: 'sts-refused',
  unavailable: 'sts-unavailable',
  'own-credentials': 'sts-unavailable',
  'bad-request': 'sts-refused',
  defect: 'internal',
  'wrong-identity': 'internal',
};

const TEXT_BY_CATEGORY: Readonly<Record<StsCategory, string>> = {
  throttled: 'AWS STS throttles requests',
  denied: 'AWS STS refused the role',
  unavailable: 'AWS STS is not available',
  'own-credentials': "the server's own AWS credentials do not work",
  'bad-request': 'AWS STS refused the request',
  defect: 'the server failed to ask AWS STS',
  'wrong-identity': 'AWS STS answered for another role',
};

function categoryOf({ code, status }: StsErrorFacts): StsCategory {
  const known = CATEGORY_BY_CODE.get(code);
  if (known !== undefined) return known;
  if (status === 429) return 'throttled';
  // An answer without a code is not from STS but from a proxy or a load balancer.
  if (code === '' || status === undefined || status < 400 || status >= 500) return 'unavailable';
  return status === 403 ? 'denied' : 'bad-request';
}

/** A code is a word of letters, digits and dots. Any other error name is dropped. */
const CODE = /^[A-Za-z][\w.]{0,63}$/;

/** Names of errors that are not codes of STS: JavaScript's, Node's and the SDK's own. */
const NAMES_WITHOUT_MEANING = new Set([
  'Error',
  'TypeError',
  'RangeError',
  'AggregateError',
  'AbortError',
  'SyntaxError',
  'URIError',
  'ReferenceError',
  'EvalError',
  'Unknown',
]);

/** https://nodejs.org/api/errors.html#common-system-errors */
const BROKEN: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);

/** Reads whatever the SDK threw. It may throw anything: nothing is taken for granted here. */
export function readStsError(error: unknown): StsErrorFacts {
  const status = property(property(error, '$metadata'), 'httpStatusCode');
  const name = property(error, 'name');
  const code = typeof name === 'string' && CODE.test(name) && !NAMES_WITHOUT_MEANING.has(name) ? name : '';
  return {
    code,
    message: messageOf(error),
    status: typeof status === 'number' ? status : undefined,
    isBroken: BROKEN.has(property(error, 'code')),
  };
}

/** One line. Node leaves the message of an AggregateError empty, its code says what happened. */
function messageOf(error: unknown): string {
  const message = property(error, 'message');
  const text = typeof message === 'string' && message !== '' ? message : property(error, 'code');
  return typeof text === 'string' ? beginningOf(text.replaceAll(/\s+/g, ' '), 1000) : 'unknown error';
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
