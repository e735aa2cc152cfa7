import assert from 'node:assert/strict';
import test from 'node:test';

import { routeOf } from '#agent/route.ts';

const ROUTES: readonly (readonly [string, string])[] = [
  ['/ping', 'ping'],
  ['/ping/', 'proxy'],
  ['/health', 'health'],
  ['/', 'proxy'],
  ['/latest', 'proxy'],
  ['/latest/meta-data/', 'proxy'],
  ['/latest/user-data', 'proxy'],
  ['/latest/dynamic/instance-identity/document', 'proxy'],
  ['/latest/api/token', 'token'],
  ['/x/api/token', 'token'],
  ['/latest/api/token/', 'proxy'],
  ['/a/b/api/token', 'proxy'],
  ['/latest/meta-data/iam/security-credentials', 'role-name'],
  ['/latest/meta-data/iam/security-credentials/', 'role-name'],
  ['/2016-09-02/meta-data/iam/security-credentials/', 'role-name'],
  ['/latest/meta-data/iam/info', 'iam-info'],
  ['/latest/meta-data/iam/info/', 'iam-info'],
  ['/latest/meta-data/iam/info/x', 'denied'],
  ['/latest/meta-data/iam', 'denied'],
  ['/latest/meta-data/iam/', 'denied'],
  ['/latest/meta-data/IAM/security-credentials/', 'denied'],
  ['/Latest/Meta-Data/iam/security-credentials/x', 'denied'],
  ['/meta-data/iam/security-credentials/', 'denied'],
  ['/a/b/meta-data/iam/security-credentials/', 'denied'],
  ['/latest/meta-data/iam/security-credentials-extended', 'denied'],
  ['/latest/meta-data/iam/security-credentials-extended/x', 'denied'],
  ['/latest/meta-data/identity-credentials', 'denied'],
  ['/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance', 'denied'],
  ['/latest/meta-data/Identity-Credentials/ec2/info', 'denied'],
  ['/latest/meta-data/x/security-credentials/', 'denied'],
  ['/latest/meta-data/iamx', 'proxy'],
  ['/latest/meta-data/iam.', 'denied'],
  ['/latest/meta-data/iam=x/security', 'denied'],
  ['/latest/meta-data/identity-credentials.x/ec2', 'denied'],
];

for (const [path, name] of ROUTES) {
  test(`${path} is for ${name}`, () => {
    assert.equal(routeOf(path).name, name);
  });
}

const ROLES: readonly (readonly [string, string])[] = [
  ['reader', 'reader'],
  ['reader/', 'reader'],
  ['team-a/app', 'team-a/app'],
  ['team-a/app/', 'team-a/app'],
  ['arn:aws:iam::1:role/deep/path/app', 'arn:aws:iam::1:role/deep/path/app'],
  [' läser ', ' läser '],
  ['security-credentials', 'security-credentials'],
  ['a%2fb;c\\d', 'a%2fb;c\\d'],
];

for (const [text, role] of ROLES) {
  test(`credentials for '${text}' are asked for the role '${role}'`, () => {
    assert.deepEqual(routeOf(`/latest/meta-data/iam/security-credentials/${text}`), { name: 'credentials', role });
  });
}
