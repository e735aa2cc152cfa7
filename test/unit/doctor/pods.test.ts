import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import { checkPods } from '#doctor/cluster/pods.ts';
import type { PodRecord } from '#domain/pod.ts';

import { podRecord } from '../../support/pods.ts';

function look(...pods: readonly Partial<PodRecord>[]) {
  return checkPods({
    pods: pods.map((fields, index) => podRecord({ uid: `${index}`, addresses: [`192.0.2.${index + 1}`], ...fields })),
    namespaces: [],
    serviceAccounts: [],
    binding: 'both',
    containerCredentials: undefined,
    baseArn: 'arn:aws:iam::123456789012:role/',
    strict: true,
    listFormat: 'glob',
    allowedTags: [],
    sessions: plainSessions('kiam'),
  });
}

test('a session name that AWS does not accept is told with what AWS is given, once for replicas, and is nothing wrong', () => {
  const observations = look({ name: 'a', sessionName: 'my name/1' }, { name: 'b', sessionName: 'my name/1' }, {});
  assert.deepEqual(
    observations.map(({ verdict }) => verdict),
    ['ok', 'ok'],
  );
  assert.match(
    observations[1]?.says ?? '',
    /^default\/a and 1 more: iam\.amazonaws\.com\/session-name is "my name\/1", and AWS is given kiam-my-name-1: /,
  );
});

test('an external id that AWS does not accept is wrong, and is not repeated', () => {
  const [observation] = look({ externalId: 'half a secret' });
  assert.equal(observation?.verdict, 'wrong');
  assert.doesNotMatch(JSON.stringify(observation), /half/);
});

test('a session tag that AWS would not take is wrong, and one that is not allowed is told once for replicas', () => {
  const ignored = { role: 'reader', sessionName: '', externalId: '', sessionTags: [], ignoredTag: 'other' };
  const observations = look(
    { name: 'a', sessionTags: [['team', 'a;b']] },
    { name: 'b', annotated: ignored },
    { name: 'c', annotated: ignored },
  );
  assert.deepEqual(
    observations.map(({ verdict, says }) => `${verdict} ${says}`),
    [
      "wrong default/a: the session tag 'team' is not valid: the value of a session tag has at most 256 letters, digits, spaces and _.:/=+-@, and so it gets nothing",
      'cannot tell default/b and 1 more: iam.amazonaws.com/session-tag.other does not count',
    ],
  );
});
