import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bindPod, roleOfAccount, type Binding } from '#domain/service-account.ts';

import { podRecord, serviceAccountRecord } from '../../support/pods.ts';

const ARN = 'arn:aws:iam::123456789012:role/app';

const ROWS: readonly (readonly [
  own: string,
  ofAccount: string,
  binding: Binding,
  role: string,
  source: 'pod' | 'service-account',
])[] = [
  ['own', 'given', 'both', 'own', 'pod'],
  ['', 'given', 'both', 'given', 'service-account'],
  ['own', '', 'both', 'own', 'pod'],
  ['own', 'given', 'pod', 'own', 'pod'],
  ['', 'given', 'pod', '', 'pod'],
  ['own', 'given', 'serviceaccount', 'given', 'service-account'],
  ['own', '', 'serviceaccount', '', 'service-account'],
];

for (const [own, ofAccount, binding, role, source] of ROWS) {
  test(`annotated with '${own}', as a ServiceAccount with '${ofAccount}', with --binding=${binding}, a pod has '${role}'`, () => {
    const bound = bindPod(podRecord({ role: own }), serviceAccountRecord({ role: ofAccount }), {
      binding,
      allowedTags: [],
    });
    assert.deepEqual([bound.role, bound.roleSource, bound.annotated.role], [role, source, own]);
  });
}

test('a pod whose ServiceAccount is not known has its own role, or none', () => {
  assert.equal(bindPod(podRecord({ role: 'own' }), undefined, { binding: 'both', allowedTags: [] }).role, 'own');
  assert.equal(bindPod(podRecord({ role: 'own' }), undefined, { binding: 'serviceaccount', allowedTags: [] }).role, '');
});

test('with --binding=serviceaccount no annotation of a pod counts, and with both all of them do', () => {
  const pod = podRecord({ role: 'own', sessionName: 'me', externalId: 'id' });
  const alone = bindPod(pod, serviceAccountRecord({ role: 'given' }), { binding: 'serviceaccount', allowedTags: [] });
  assert.deepEqual([alone.sessionName, alone.externalId], ['', '']);
  const again = bindPod(alone, serviceAccountRecord({ role: 'given' }), { binding: 'both', allowedTags: [] });
  assert.deepEqual([again.role, again.sessionName, again.externalId], ['own', 'me', 'id']);
});

test('a pod that is as it was stays the same record', () => {
  const pod = podRecord({ role: 'own' });
  assert.equal(bindPod(pod, serviceAccountRecord({ role: 'given' }), { binding: 'both', allowedTags: [] }), pod);
  const bound = bindPod(podRecord({ role: '' }), serviceAccountRecord({ role: 'given' }), {
    binding: 'both',
    allowedTags: [],
  });
  assert.equal(bindPod(bound, serviceAccountRecord({ role: 'given' }), { binding: 'both', allowedTags: [] }), bound);
});

test('of two annotations of a ServiceAccount the one that nobody else reads counts, and that of EKS only as an ARN', () => {
  assert.equal(roleOfAccount({ role: 'app', eksRole: ARN }), 'app');
  assert.equal(roleOfAccount({ role: '', eksRole: ARN }), ARN);
  assert.equal(roleOfAccount({ role: '', eksRole: 'app' }), '');
});

for (const [binding, own, ofAccount, expected] of [
  ['both', [['team', 'own']], [['team', 'given']], [['team', 'given']]],
  [
    'both',
    [['cost', 'own']],
    [['team', 'given']],
    [
      ['cost', 'own'],
      ['team', 'given'],
    ],
  ],
  ['both', [['team', 'own']], [], [['team', 'own']]],
  ['serviceaccount', [['cost', 'own']], [['team', 'given']], [['team', 'given']]],
  ['pod', [['team', 'own']], [['team', 'given']], [['team', 'own']]],
] as const) {
  test(`session tags ${JSON.stringify(own)} of a pod and ${JSON.stringify(ofAccount)} of its ServiceAccount are ${JSON.stringify(expected)} with --binding=${binding}`, () => {
    const pod = podRecord({ sessionTags: own });
    const account = serviceAccountRecord({ sessionTags: ofAccount });
    const bound = bindPod(pod, account, { binding, allowedTags: ['team', 'cost'] });
    assert.deepEqual(bound.sessionTags, expected);
    assert.equal(bindPod(bound, account, { binding, allowedTags: ['team', 'cost'] }), bound);
  });
}

test('where ServiceAccounts may set session tags, those of a pod are not known before its ServiceAccount is', () => {
  const pod = podRecord({ sessionTags: [['team', 'own']] });
  const rules = { binding: 'both', allowedTags: ['team'] } as const;
  assert.equal(bindPod(pod, undefined, rules).sessionTags, undefined);
  assert.deepEqual(bindPod(bindPod(pod, undefined, rules), serviceAccountRecord(), rules).sessionTags, [
    ['team', 'own'],
  ]);
  assert.deepEqual(bindPod(podRecord(), undefined, { binding: 'both', allowedTags: [] }).sessionTags, []);
});
