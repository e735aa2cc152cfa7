import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Cluster } from '#doctor/cluster/cluster.ts';
import { checkPods } from '#doctor/cluster/pods.ts';
import { checkWays } from '#doctor/cluster/ways.ts';
import type { PodRecord } from '#domain/pod.ts';
import { plainSessions } from '#domain/attribution.ts';

import { podRecord } from '../../support/pods.ts';

const clusterOf = (containerCredentials: boolean | undefined, ...pods: readonly Partial<PodRecord>[]): Cluster => ({
  pods: pods.map((fields, index) => podRecord({ uid: `${index}`, addresses: [`192.0.2.${index + 1}`], ...fields })),
  namespaces: [],
  serviceAccounts: [],
  binding: 'both',
  containerCredentials,
  baseArn: 'arn:aws:iam::123456789012:role/',
  strict: true,
  listFormat: 'glob',
  allowedTags: [],
  sessions: plainSessions('kiam'),
});
const BY_TOKEN = { asksBy: 'container credentials' } as const;

test('pods with a role are counted by the way in which they ask', () => {
  const pods = [{}, { role: '' }, BY_TOKEN, BY_TOKEN, { asksBy: 'web identity' }] as const;
  for (const served of [true, undefined]) {
    assert.deepEqual(
      checkWays(clusterOf(served, ...pods)).map(({ verdict, says }) => `${verdict} ${says}`),
      [
        'ok pods with a role ask for credentials as their variables say: 1 by instance metadata, 2 by container credentials, 1 by web identity',
      ],
    );
  }
});

test('pods that ask for container credentials of servers that do not give them are wrong, once for a namespace', () => {
  const [first, ...others] = checkWays(clusterOf(false, {}, { ...BY_TOKEN, name: 'a' }, { ...BY_TOKEN, name: 'b' }));
  assert.equal(first?.verdict, 'wrong');
  assert.match(first?.says ?? '', /^default\/a and 1 more: asks for container credentials/);
  assert.equal(others.length, 1);
});

test('a pod with the host network is wrong unless it asks for container credentials', () => {
  const verdictOf = (fields: Partial<PodRecord>) =>
    checkPods(clusterOf(true, { hostNetwork: true, ...fields }))[0]?.verdict;
  assert.equal(verdictOf({}), 'wrong');
  assert.equal(verdictOf(BY_TOKEN), 'ok');
});
