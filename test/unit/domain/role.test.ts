import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { baseArnOfInstanceProfile, resolveRole } from '#domain/role.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

describe('resolveRole', () => {
  for (const [role, arn, name] of [
    ['reader', `${BASE}reader`, 'reader'],
    ['/reader', `${BASE}reader`, 'reader'],
    ['team-a/app', `${BASE}team-a/app`, 'team-a/app'],
    ['/team-a/app', `${BASE}team-a/app`, 'team-a/app'],
    ['//team-a/app', `${BASE}/team-a/app`, '/team-a/app'],
    ['+=,.@_-9', `${BASE}+=,.@_-9`, '+=,.@_-9'],
    ['x'.repeat(64), `${BASE}${'x'.repeat(64)}`, 'x'.repeat(64)],
    [`${'p'.repeat(510)}/app`, `${BASE}${'p'.repeat(510)}/app`, `${'p'.repeat(510)}/app`],
    ['arn:aws:iam::999999999999:role/other-account', 'arn:aws:iam::999999999999:role/other-account', 'other-account'],
    ['arn:aws:iam::999999999999:role/deep/path/app', 'arn:aws:iam::999999999999:role/deep/path/app', 'deep/path/app'],
    ['arn:aws-us-gov:iam::123456789012:role/gov', 'arn:aws-us-gov:iam::123456789012:role/gov', 'gov'],
    ['arn:aws-cn:iam::123456789012:role/cn', 'arn:aws-cn:iam::123456789012:role/cn', 'cn'],
  ] as const) {
    it(`resolveRole resolves ${JSON.stringify(role)} to ${arn}`, () => {
      assert.deepEqual(resolveRole(role, BASE), { ok: true, role: { arn, name } });
    });
  }

  for (const role of [
    '',
    '/',
    'arn:',
    'arn:x',
    'arn:aws:iam::1:role/',
    'arn:aws:s3:::bucket',
    'arn:aws:iam::1:user/x',
    'arn:aws:iam::1:role/x',
    'arn:aws:iam::1234567890123:role/x',
    'arn:gcp:iam::123456789012:role/x',
    ' reader ',
    'läser',
    'reader/',
    'team a/app',
    'reader\n',
    'reader😀',
    `reader${'😀'.slice(0, 1)}`,
    'x'.repeat(65),
    `${'p'.repeat(513)}/app`,
    'x'.repeat(65_536),
    `arn:aws:iam::1:role/${'x'.repeat(65_536)}`,
  ]) {
    it(`resolveRole refuses ${JSON.stringify(role.slice(0, 40))} (${role.length} characters) with a reason`, () => {
      const resolution = resolveRole(role, BASE);
      assert.ok(!resolution.ok);
      assert.ok(resolution.reason.length > 0 && resolution.reason.length < 200);
    });
  }
});

describe('baseArnOfInstanceProfile', () => {
  for (const [profile, base] of [
    ['arn:aws:iam::1:instance-profile/p/x', 'arn:aws:iam::1:role/'],
    ['arn:aws-cn:iam::123456789012:instance-profile/node', 'arn:aws-cn:iam::123456789012:role/'],
    ['arn:aws:iam::1:role/x', undefined],
    ['', undefined],
  ] as const) {
    it(`baseArnOfInstanceProfile makes ${base ?? 'nothing'} of ${JSON.stringify(profile)}`, () => {
      assert.equal(baseArnOfInstanceProfile(profile), base);
    });
  }
});
