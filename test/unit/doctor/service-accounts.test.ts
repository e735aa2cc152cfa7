import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import { checkServiceAccounts } from '#doctor/cluster/service-accounts.ts';
import type { PodRecord } from '#domain/pod.ts';
import { bindPod, type Binding, type ServiceAccountRecord } from '#domain/service-account.ts';

import { podRecord, serviceAccountRecord } from '../../support/pods.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

interface Row {
  readonly name: string;
  readonly account?: Partial<ServiceAccountRecord>;
  readonly pods?: readonly Partial<PodRecord>[];
  readonly binding?: Binding;
  readonly told: readonly string[];
}

const ROWS: readonly Row[] = [
  { name: 'nothing', told: ['ok 0 ServiceAccounts give roles'] },
  { name: 'one that gives a role', account: { role: 'app' }, told: ['ok 1 ServiceAccounts give roles'] },
  {
    name: 'pods that say the same in other words',
    account: { eksRole: `${BASE}app` },
    pods: [{ role: 'app' }, { role: '/app' }],
    told: ['ok 1 ServiceAccounts give roles'],
  },
  {
    name: 'pods that say something else',
    account: { role: 'app' },
    pods: [
      { name: 'a', role: 'other' },
      { name: 'b', role: 'other' },
      { name: 'ended', role: 'third', phase: 'Failed' },
    ],
    told: [
      "cannot tell team/a and 1 more: annotated with other, while the ServiceAccount team/default gives app: the pod's counts",
    ],
  },
  {
    name: 'pods that say something else, where they do not count',
    account: { role: 'app' },
    pods: [{ role: 'other' }],
    binding: 'serviceaccount',
    told: [
      "cannot tell team/pod: annotated with other, while the ServiceAccount team/default gives app: the ServiceAccount's counts",
    ],
  },
  {
    name: 'an annotated pod that gets nothing, because its own annotation does not count',
    account: {},
    pods: [{ role: 'other' }],
    binding: 'serviceaccount',
    told: ['wrong team/pod: annotated with other, which does not count with --binding=serviceaccount'],
  },
  {
    name: 'two roles on one ServiceAccount',
    account: { role: 'app', eksRole: `${BASE}other` },
    told: [
      'cannot tell the ServiceAccount team/default has two roles: iam.amazonaws.com/role says app, which counts here',
    ],
  },
  { name: 'the same role twice', account: { role: 'app', eksRole: `${BASE}app` }, told: ['ok 1 ServiceAccounts'] },
  {
    name: 'an annotation of EKS that is no ARN',
    account: { eksRole: 'app' },
    told: ['wrong the ServiceAccount team/default: eks.amazonaws.com/role-arn is "app", which is no ARN'],
  },
  {
    name: 'a webhook that makes SDKs use web identity',
    account: { eksRole: `${BASE}app` },
    pods: [{ name: 'a', role: '', asksBy: 'web identity' }],
    told: ['cannot tell team/a: a container has AWS_WEB_IDENTITY_TOKEN_FILE, which SDKs prefer'],
  },
  {
    name: 'web identity of a pod that has no role from here',
    pods: [{ role: '', asksBy: 'web identity' }],
    told: ['ok 0 ServiceAccounts'],
  },
  { name: 'no binding to ServiceAccounts', binding: 'pod', told: ['ok with --binding=pod no ServiceAccount gives'] },
];

for (const { name, account, pods = [], binding = 'both', told } of ROWS) {
  test(`ServiceAccounts: ${name}`, () => {
    const record = account && serviceAccountRecord({ namespace: 'team', ...account });
    const observations = checkServiceAccounts({
      pods: pods.map((pod) =>
        bindPod(podRecord({ namespace: 'team', name: 'pod', ...pod }), record, { binding, allowedTags: [] }),
      ),
      namespaces: [],
      serviceAccounts: record === undefined ? [] : [record],
      binding,
      containerCredentials: undefined,
      baseArn: BASE,
      strict: true,
      listFormat: 'glob',
      allowedTags: [],
      sessions: plainSessions('kiam'),
    });
    const lines = observations.map(({ verdict, says }) => `${verdict} ${says}`);
    assert.equal(lines.length, told.length, lines.join('\n'));
    for (const [index, beginning] of told.entries()) assert.ok(lines[index]?.startsWith(beginning), lines[index]);
  });
}
