import assert from 'node:assert/strict';
import test from 'node:test';

import { type TestAgentOptions, CREDENTIALS, CREDENTIALS_TEXT, testAgent } from './fixture.ts';

const PATH = '/latest/meta-data/iam/security-credentials/';
const EXTENDED = { 'x-amzn-extended': '1' };
const ARN = 'arn:aws:iam::123456789012:role/reader';
const WITH_ACCOUNT = CREDENTIALS_TEXT.replace('"}\n', '","AccountId":"123456789012"}\n');

const SOURCES: readonly (readonly [string, NonNullable<TestAgentOptions['source']>])[] = [
  ['from memory', { knownCredentials: () => CREDENTIALS, roleArnOf: () => ARN }],
  ['that a server gave', { roleArnOf: () => ARN }],
];

for (const [name, source] of SOURCES) {
  test(`credentials ${name} have the account for who asks for it with them, and for nobody else`, async () => {
    const { app } = testAgent({ source });
    const bodyOf = async (headers: Record<string, string>): Promise<string> =>
      (await app.inject({ url: `${PATH}reader`, headers })).body;
    assert.equal(await bodyOf({}), CREDENTIALS_TEXT);
    assert.equal(await bodyOf(EXTENDED), WITH_ACCOUNT);
    assert.equal(await bodyOf({ 'x-amzn-extended': '0' }), CREDENTIALS_TEXT);
    assert.equal(await bodyOf(EXTENDED), WITH_ACCOUNT);
    assert.equal(await bodyOf({}), CREDENTIALS_TEXT);
    assert.equal((await app.inject({ url: PATH, headers: EXTENDED })).body, 'reader');
    assert.equal((await app.inject({ url: `${PATH.slice(0, -1)}-extended/`, headers: EXTENDED })).statusCode, 404);
  });
}

test('where only the name of a role is known, the account is not told; an ARN that is asked for says it', async () => {
  const { app } = testAgent({ source: { knownCredentials: () => CREDENTIALS, roleArnOf: () => '' } });
  assert.equal((await app.inject({ url: `${PATH}reader`, headers: EXTENDED })).body, CREDENTIALS_TEXT);
  assert.equal((await app.inject({ url: `${PATH}${ARN}`, headers: EXTENDED })).body, WITH_ACCOUNT);
});

const DETECTION = [
  ['a token of its own making', { 'x-aws-ec2-metadata-token': 'INVALID' }, 401],
  ['no token', {}, 404],
] as const;

for (const isRequired of [false, true]) {
  for (const [name, headers, status] of DETECTION) {
    test(`who asks for the root with ${name} learns which version this is, with --require-imdsv2=${isRequired}`, async () => {
      const { app } = testAgent({ requireImdsv2: isRequired });
      const answer = await app.inject({ url: '/', headers });
      assert.equal(answer.statusCode, isRequired ? 401 : status);
      if (isRequired) return;
      const { body: token } = await app.inject({
        method: 'PUT',
        url: '/latest/api/token',
        headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
      });
      const valid = await app.inject({ url: '/', headers: { 'x-aws-ec2-metadata-token': token } });
      assert.equal(valid.statusCode, 404);
      const other = await app.inject({ url: `${PATH}reader`, headers });
      assert.equal(other.statusCode, 200);
    });
  }
}
