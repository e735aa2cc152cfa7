import assert from 'node:assert/strict';
import test from 'node:test';

import { createTokens } from '#agent/tokens.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { NO_MEMORY } from '../../support/no-memory.ts';
import { testAgent } from './fixture.ts';

const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';
const ROLE_PATH = '/latest/meta-data/iam/security-credentials/';

test('a token is good for its pod until its time is up, also when it is remembered', async () => {
  const clock = new ManualClock();
  const tokens = createTokens({ clock, source: NO_MEMORY });
  const { token, ttlSeconds } = tokens.issue('192.0.2.1', 10);
  assert.equal(ttlSeconds, 10);
  await clock.advance(9_999);
  assert.equal(tokens.verify('192.0.2.1', token), true);
  assert.equal(tokens.verify('192.0.2.1', token), true);
  assert.equal(tokens.verify('192.0.2.2', token), false);
  await clock.advance(1);
  assert.equal(tokens.verify('192.0.2.1', token), false);
});

test('a jump of the wall clock neither ends a token nor prolongs it', async () => {
  const clock = new ManualClock();
  const tokens = createTokens({ clock, source: NO_MEMORY });
  const { token } = tokens.issue('192.0.2.1', 10);
  clock.jumpWall(3_600_000);
  assert.equal(tokens.verify('192.0.2.1', token), true);
  clock.jumpWall(-7_200_000);
  await clock.advance(10_000);
  assert.equal(tokens.verify('192.0.2.1', token), false);
});

test('no changed, cut, lengthened or differently spelt token is good', () => {
  const tokens = createTokens({ clock: new ManualClock(), source: NO_MEMORY });
  const { token } = tokens.issue('192.0.2.1', 10);
  for (let index = 0; index < token.length; index += 1) {
    const other = token[index] === 'A' ? 'B' : 'A';
    assert.equal(tokens.verify('192.0.2.1', token.slice(0, index) + other + token.slice(index + 1)), false);
  }
  for (const text of ['', token.slice(1), `${token}A`, `${token}=`, ` ${token}`, 'x'.repeat(8000)]) {
    assert.equal(tokens.verify('192.0.2.1', text), false);
  }
});

test('a token is good in the spelling in which it was issued alone', () => {
  const clock = new ManualClock();
  // The same bytes in the other alphabet of base64, which a decoder accepts as well.
  const respelt = (token: string): string => token.replaceAll('-', '+').replaceAll('_', '/');
  for (let count = 0; count < 100; count += 1) {
    const tokens = createTokens({ clock, source: NO_MEMORY });
    const { token } = tokens.issue('192.0.2.1', 10);
    if (respelt(token) === token) continue;
    assert.equal(tokens.verify('192.0.2.1', respelt(token)), false);
    return;
  }
  assert.fail('no token has a character that is spelt in two ways');
});

test('a token of another process is refused', () => {
  const clock = new ManualClock();
  const { token } = createTokens({ clock, source: NO_MEMORY }).issue('192.0.2.1', 10);
  assert.equal(createTokens({ clock, source: NO_MEMORY }).verify('192.0.2.1', token), false);
});

test('a token is bound to the UID of the pod that asked for it', () => {
  let uid: string | undefined = 'uid-1';
  const tokens = createTokens({ clock: new ManualClock(), source: { knowsPods: true, knownUid: () => uid } });
  const { token, ttlSeconds } = tokens.issue('192.0.2.1', 21_600);
  assert.equal(ttlSeconds, 21_600);
  assert.equal(tokens.verify('192.0.2.1', token), true);
  uid = 'uid-2';
  assert.equal(tokens.verify('192.0.2.1', token), false);
  uid = undefined;
  assert.equal(tokens.verify('192.0.2.1', token), false);
});

test('a pod that is not known yet gets a token for 60 s, which stays good when it becomes known', async () => {
  const clock = new ManualClock();
  const uids: string[] = [];
  const tokens = createTokens({ clock, source: { knowsPods: true, knownUid: () => uids[0] } });
  assert.equal(tokens.issue('192.0.2.1', 30).ttlSeconds, 30);
  const { token, ttlSeconds } = tokens.issue('192.0.2.1', 21_600);
  assert.equal(ttlSeconds, 60);
  uids.push('uid-1');
  assert.equal(tokens.verify('192.0.2.1', token), true);
  await clock.advance(60_000);
  assert.equal(tokens.verify('192.0.2.1', token), false);
});

for (const [ttl, status] of [
  ['1', 200],
  ['300', 200],
  ['21600', 200],
  ['0', 400],
  ['21601', 400],
  ['-1', 400],
  ['1.5', 400],
  ['0x10', 400],
  ['1e2', 400],
  ['', 400],
  ['nonsense', 400],
  ['99999999999999999999', 400],
] as const) {
  test(`a token for '${ttl}' seconds: ${status}`, async () => {
    const { app } = testAgent();
    const answer = await app.inject({ method: 'PUT', url: '/latest/api/token', headers: { [TTL]: ttl } });
    assert.equal(answer.statusCode, status);
    assert.equal(answer.headers[TTL], status === 200 ? ttl : undefined);
    if (status === 200) assert.match(answer.body, /^[\w-]{52}$/);
  });
}

test('without the TTL header there is no token', async () => {
  const { app } = testAgent();
  assert.equal((await app.inject({ method: 'PUT', url: '/latest/api/token' })).statusCode, 400);
});

test('a forwarded request gets no token', async () => {
  const { app } = testAgent();
  const headers = { [TTL]: '60', 'x-forwarded-for': '' };
  assert.equal((await app.inject({ method: 'PUT', url: '/latest/api/token', headers })).statusCode, 403);
});

test('a token that nobody issued does no harm where none is required', async () => {
  const { app } = testAgent();
  const headers = { 'x-aws-ec2-metadata-token': 'nonsense' };
  assert.equal((await app.inject({ url: ROLE_PATH, headers })).statusCode, 200);
});

test('with --require-imdsv2 every metadata path asks for a token of this pod; ping and health do not', async () => {
  const { app } = testAgent({ requireImdsv2: true, allow: '.*' });
  const issued = await app.inject({ method: 'PUT', url: '/latest/api/token', headers: { [TTL]: '60' } });
  const withToken = { 'x-aws-ec2-metadata-token': issued.body };
  for (const url of [ROLE_PATH, `${ROLE_PATH}reader`, '/latest/meta-data/iam/info', '/latest/meta-data/instance-id']) {
    assert.equal((await app.inject({ url })).statusCode, 401, url);
    const nonsense = { 'x-aws-ec2-metadata-token': 'nonsense' };
    assert.equal((await app.inject({ url, headers: nonsense })).statusCode, 401, url);
    assert.equal((await app.inject({ url, headers: withToken, remoteAddress: '192.0.2.9' })).statusCode, 401, url);
    assert.notEqual((await app.inject({ url, headers: withToken })).statusCode, 401, url);
  }
  assert.equal((await app.inject({ url: '/ping' })).statusCode, 200);
  assert.equal((await app.inject({ url: '/health' })).statusCode, 200);
});
