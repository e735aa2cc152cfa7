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
