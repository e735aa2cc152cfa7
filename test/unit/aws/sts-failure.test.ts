import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StsCategory } from '#aws/sts.ts';
import { readStsError, stsFailure, withoutExternalId } from '#aws/sts-failure.ts';

/** An error as the SDK throws it for an answer of STS. */
function answered(name: string, status: number, message = 'text'): object {
  return Object.assign(new Error(message), { name, $fault: 'client', $metadata: { httpStatusCode: status } });
}

const cases: readonly (readonly [unknown, StsCategory, string])[] = [
  [answered('Throttling', 400), 'throttled', 'Throttling'],
  [answered('ThrottlingException', 400), 'throttled', 'ThrottlingException'],
  [answered('Unheard', 429), 'throttled', 'Unheard'],
  [answered('AccessDenied', 403), 'denied', 'AccessDenied'],
  [answered('RegionDisabledException', 403), 'denied', 'RegionDisabledException'],
  [answered('Unheard', 403), 'denied', 'Unheard'],
  [answered('ExpiredToken', 403), 'own-credentials', 'ExpiredToken'],
  [answered('ExpiredTokenException', 400), 'own-credentials', 'ExpiredTokenException'],
  [answered('InvalidClientTokenId', 403), 'own-credentials', 'InvalidClientTokenId'],
  [answered('SignatureDoesNotMatch', 403), 'own-credentials', 'SignatureDoesNotMatch'],
  [answered('ValidationError', 400), 'bad-request', 'ValidationError'],
  [answered('Unheard', 400), 'bad-request', 'Unheard'],
  [answered('InternalFailure', 500), 'unavailable', 'InternalFailure'],
  [answered('Unheard', 503), 'unavailable', 'Unheard'],
  [answered('Unknown', 403), 'unavailable', ''],
  [answered('SyntaxError', 200), 'unavailable', ''],
  [Object.assign(new Error('late'), { name: 'TimeoutError' }), 'unavailable', 'TimeoutError'],
  [Object.assign(new Error('connect ECONNREFUSED 192.0.2.1:443'), { code: 'ECONNREFUSED' }), 'unavailable', ''],
  [Object.assign(new AggregateError([]), { code: 'ETIMEDOUT' }), 'unavailable', ''],
  [answered('An odd\nname', 403), 'unavailable', ''],
  ['a text', 'unavailable', ''],
  [undefined, 'unavailable', ''],
  [null, 'unavailable', ''],
];

test('every error is sorted by what it asks of the caller', () => {
  for (const [error, category, code] of cases) {
    const failure = stsFailure(readStsError(error));
    assert.deepEqual([failure.category, failure.code], [category, code], String(error));
    const isForGood = category === 'denied' || category === 'bad-request';
    const kind = category === 'throttled' ? 'sts-throttled' : 'sts-unavailable';
    assert.equal(failure.failure.kind, isForGood ? 'sts-refused' : kind);
  }
});

test('what may pass at once is a failure of STS that it answered with, or a connection that broke', () => {
  const isBrief = (error: unknown): boolean => stsFailure(readStsError(error)).isBrief;
  assert.ok(isBrief(answered('InternalFailure', 500)));
  assert.ok(isBrief(answered('Unheard', 503)));
  assert.ok(isBrief(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })));
  for (const error of [
    answered('Throttling', 400),
    answered('AccessDenied', 403),
    answered('ExpiredToken', 403),
    Object.assign(new Error('late'), { name: 'TimeoutError' }),
    Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
  ])
    assert.ok(!isBrief(error), JSON.stringify(error));
});

test('the pod is told the code and never the text, which names the role of the server', () => {
  const text = 'User: arn:aws:sts::1:assumed-role/kiam-server/17 is not authorized';
  const failure = stsFailure(readStsError(answered('AccessDenied', 403, text)));
  assert.equal(failure.detail, `AccessDenied: ${text}`);
  assert.equal(failure.failure.message, 'AWS STS refused the role: AccessDenied');
});

test('an external id is told nowhere, even where STS quotes it, or a part of it', () => {
  const told = (code: string, status: number, text: string): string =>
    withoutExternalId(stsFailure(readStsError(answered(code, status, text))), 'half-a-secret').detail;
  assert.equal(told('AccessDenied', 403, 'not with half-a-secret'), 'AccessDenied: not with ******');
  assert.equal(told('ValidationError', 400, "Value 'half-a"), 'ValidationError');
  const failure = stsFailure(readStsError(answered('ValidationError', 400, 'a bad name')));
  assert.equal(withoutExternalId(failure, '').detail, 'ValidationError: a bad name');
});

test('a failure without a code shows its text alone, in one line of bounded length', () => {
  const failure = stsFailure(readStsError(new Error(`first\n${'x'.repeat(5000)}`)));
  assert.match(failure.detail, /^first x+$/);
  assert.ok(failure.detail.length <= 1000);
  assert.equal(
    stsFailure(readStsError(Object.assign(new AggregateError([]), { code: 'ETIMEDOUT' }))).detail,
    'ETIMEDOUT',
  );
});
