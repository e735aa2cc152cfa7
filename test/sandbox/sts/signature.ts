import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { StsError } from './answers.ts';
import type { IssuedKey } from './identities.ts';

export interface SignedRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export type Verification =
  | { readonly ok: true; readonly key: IssuedKey }
  | { readonly ok: false; readonly error: StsError };

export interface VerificationRules {
  readonly find: (accessKeyId: string) => IssuedKey | undefined;
  readonly nowMs: number;
  /** Whether a request that was signed over 15 minutes ago, or ahead, is refused. */
  readonly checkRequestTime: boolean;
}

const FIFTEEN_MINUTES_MS = 15 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request, ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})$/;

/**
 * Finds out whose keys signed a request, by Signature Version 4 in the Authorization header:
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function verifySignature(request: SignedRequest, rules: VerificationRules): Verification {
  const { authorization } = request.headers;
  if (authorization === undefined) {
    return refuse(403, 'MissingAuthenticationToken', 'Request is missing Authentication Token');
  }
  const [, accessKeyId, date, region, service, signedHeaders, signature] = AUTHORIZATION.exec(authorization) ?? [];
  if (!accessKeyId || !date || !region || !service || !signedHeaders || !signature) {
    return refuse(
      400,
      'IncompleteSignature',
      'Authorization header requires existence of Credential, SignedHeaders and Signature.',
    );
  }
  const key = rules.find(accessKeyId);
  if (key === undefined || header(request.headers, 'x-amz-security-token') !== key.credentials.sessionToken) {
    return refuse(403, 'InvalidClientTokenId', 'The security token included in the request is invalid.');
  }
  if (service !== 'sts') return mismatch(`Credential should be scoped to correct service: 'sts'. `);
  const requestTime = header(request.headers, 'x-amz-date');
  const wrongTime = timeProblem(requestTime, date, rules);
  if (wrongTime !== undefined) return mismatch(wrongTime);
  const names = signedHeaders.split(';');
  if (!names.includes('host') || (key.credentials.sessionToken !== '' && !names.includes('x-amz-security-token'))) {
    return mismatch("'Host' or ':authority', and 'X-Amz-Security-Token' must be signed.");
  }
  const scope = `${date}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', requestTime, scope, sha256(canonicalRequest(request, names))].join('\n');
  const expected = hmac(signingKey(key.credentials.secretAccessKey, date, region), text).toString('hex');
  if (!timingSafeEqual(Buffer.from(expected), Buffer.from(signature))) return mismatch(MISMATCH);
  if (key.credentials.expiresAtMs <= rules.nowMs) {
    return refuse(403, 'ExpiredToken', 'The security token included in the request is expired');
  }
  return { ok: true, key };
}

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. ' +
  'Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';

function canonicalRequest(request: SignedRequest, signedHeaders: readonly string[]): string {
  const mark = request.url.indexOf('?');
  const path = mark === -1 ? request.url : request.url.slice(0, mark);
  const query = mark === -1 ? '' : request.url.slice(mark + 1);
  const headers = signedHeaders.map(
    (name) => `${name}:${header(request.headers, name).trim().replaceAll(/ +/g, ' ')}\n`,
  );
  return [
    request.method,
    path === '' ? '/' : path,
    canonicalQuery(query),
    headers.join(''),
    signedHeaders.join(';'),
    sha256(request.body),
  ].join('\n');
}

function canonicalQuery(query: string): string {
  const pairs = Array.from(new URLSearchParams(query), ([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.sort().join('&');
}

/** Everything but the unreserved characters of RFC 3986. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function timeProblem(requestTime: string, date: string, rules: VerificationRules): string | undefined {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(requestTime) ?? [];
  const signedMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (!Number.isFinite(signedMs)) return 'Date in X-Amz-Date is missing or not in the form YYYYMMDDTHHMMSSZ.';
  if (!requestTime.startsWith(date)) {
    return `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${date}' != '${requestTime.slice(0, 8)}', from '${requestTime}'.`;
  }
  if (!rules.checkRequestTime || Math.abs(signedMs - rules.nowMs) <= FIFTEEN_MINUTES_MS) return undefined;
  return signedMs < rules.nowMs
    ? `Signature expired: ${requestTime} is now earlier than the time of this service less 15 min.`
    : `Signature not yet current: ${requestTime} is still later than the time of this service and 15 min.`;
}

function signingKey(secret: string, date: string, region: string): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), 'sts'), 'aws4_request');
}

function header(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.join(',') ?? '');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

function mismatch(message: string): Verification {
  return refuse(403, 'SignatureDoesNotMatch', message);
}

function refuse(status: number, code: string, message: string): Verification {
  return { ok: false, error: { status, code, message } };
}
