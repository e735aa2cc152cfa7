import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import { checkInheritedTags } from '#doctor/cluster/aws-identity.ts';
import { checkNamespaces } from '#doctor/cluster/namespaces.ts';
import { checkPods } from '#doctor/cluster/pods.ts';
import type { Observation } from '#doctor/finding.ts';
import type { Cluster } from '#doctor/cluster/cluster.ts';

import { podRecord } from '../../support/pods.ts';

const EMPTY: Cluster = {
  pods: [],
  namespaces: [],
  serviceAccounts: [],
  binding: 'both',
  containerCredentials: undefined,
  baseArn: 'arn:aws:iam::123456789012:role/',
  strict: true,
  listFormat: 'glob',
  allowedTags: [],
  sessions: plainSessions('kiam'),
};

const adviceOf = (observations: readonly Observation[]): string =>
  observations.map((observation) => (observation.verdict === 'ok' ? '' : observation.fix)).join('\n');

function namespaceAdvice(permitted: string): string {
  return adviceOf(checkNamespaces({ ...EMPTY, namespaces: [{ name: 'team', permitted }], baseArn: undefined }));
}

test('an expression that is a pattern of a shell is answered with what it means as an expression', () => {
  for (const pattern of ['*', '*.*', '**', '*/*', '*-reader'])
    assert.match(namespaceAdvice(pattern), /not a shell pattern: \.\* stands for any text/, pattern);
});

test('only an expression that is too long or too large is to be shortened', () => {
  for (const expression of ['x'.repeat(5000), '(x?){500}x{500}']) assert.match(namespaceAdvice(expression), /^shorten/);
  for (const expression of ['(', '[a', 'x)|(?:.*'])
    assert.match(namespaceAdvice(expression), /syntax of RE2/, expression);
});

const listed = (permitted: string): string[] =>
  checkNamespaces({
    ...EMPTY,
    pods: [podRecord({ namespace: 'team', name: 'app', role: 'reader', addresses: ['192.0.2.1'] })],
    namespaces: [{ name: 'team', permitted, isList: true }],
  }).map((one) => `${one.says}: ${one.verdict === 'ok' ? '' : one.fix}`);

test('a list of kube2iam is judged as a list', () => {
  assert.deepEqual(listed('["re*"]'), ['1 namespace permits the roles of their pods: ']);
  assert.match(
    listed('["writer"]').join(),
    /does not match .*role\/reader.*: iam\.amazonaws\.com\/allowed-roles must match/,
  );
  for (const broken of ['', 'reader', '["reader"']) {
    assert.match(listed(broken).join(), /the list '.*' is invalid.*no JSON list of roles: write it in JSON/, broken);
  }
});

test('a role annotated as role/NAME is told what it means', () => {
  const cluster = {
    ...EMPTY,
    pods: ['role/app', '/role/team/app', 'roles/app', 'app'].map((role) => podRecord({ namespace: 'team', role })),
  };
  const told = adviceOf(
    checkPods({ ...cluster, pods: cluster.pods.map((pod, index) => ({ ...pod, addresses: [`192.0.2.${index}`] })) }),
  );
  assert.deepEqual(
    told.split('\n').filter((line) => line !== ''),
    ['where the role has no such path, annotate app', 'where the role has no such path, annotate team/app'],
  );
});

test('a server that has its identity by Pod Identity is told of the tags that pods inherit', () => {
  assert.match(adviceOf(checkInheritedTags('http://169.254.170.23/v1/credentials', 'off')), /--disable-session-tags/);
  assert.match(
    adviceOf(checkInheritedTags('http://169.254.170.23/v1/credentials', 'workload')),
    /--disable-session-tags; the line `roles`/,
  );
  for (const absent of [undefined, '']) assert.deepEqual(checkInheritedTags(absent, 'pod'), []);
});
