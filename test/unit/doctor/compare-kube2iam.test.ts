import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import { compareWithKube2iam, type Kube2iamSettings } from '#doctor/cluster/compare-kube2iam.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';

import { podRecord } from '../../support/pods.ts';

const BASE = 'arn:aws:iam::123456789012:role/';
const annotated = (role: string): Partial<PodRecord> => ({
  role,
  annotated: { role, sessionName: '', externalId: '', sessionTags: [], ignoredTag: '' },
});
const list = (...entries: readonly string[]): Partial<NamespaceRecord> => ({
  permitted: JSON.stringify(entries),
  isList: true,
});

interface Row {
  readonly name: string;
  readonly pod: Partial<PodRecord>;
  readonly namespace: Partial<NamespaceRecord>;
  readonly settings?: Partial<Kube2iamSettings>;
  readonly listFormat?: 'regexp';
  readonly told: RegExp;
}

const RESTRICTED = { isRestricted: true };

const ROWS: readonly Row[] = [
  {
    name: 'a list that both read',
    pod: annotated('app'),
    namespace: list('a*'),
    settings: RESTRICTED,
    told: /^ok all pods, 1,/,
  },
  {
    name: 'a list that refuses',
    pod: annotated('app'),
    namespace: list('b*'),
    settings: RESTRICTED,
    told: /^ok all pods, 1,/,
  },
  {
    name: 'an expression in a list of globs',
    pod: annotated('app'),
    namespace: list('ap.'),
    settings: RESTRICTED,
    listFormat: 'regexp',
    told: /^ok all pods, 1,/,
  },
  {
    name: 'no restriction there and no permission here',
    pod: annotated('app'),
    namespace: { permitted: '' },
    told: /^wrong team\/pod: kube2iam gives it arn:aws:iam::123456789012:role\/app; here it is refused: namespace policy expression '\(empty\)'/,
  },
  {
    name: 'a permission here that kube2iam does not know',
    pod: annotated('app'),
    namespace: { permitted: '.*' },
    settings: RESTRICTED,
    told: /^ok team\/pod: kube2iam refuses it app; here it is served/,
  },
  {
    name: 'the default role',
    pod: annotated(''),
    namespace: list(),
    settings: { isRestricted: true, defaultRole: 'fallback' },
    told: /^wrong team\/pod: kube2iam gives it the default role arn:aws:iam::123456789012:role\/fallback; here it has none/,
  },
  {
    name: 'a pod with hostNetwork',
    pod: { ...annotated('app'), hostNetwork: true },
    namespace: list('*'),
    settings: RESTRICTED,
    told: /^wrong team\/pod: kube2iam gives it .*; here it is refused: it has hostNetwork/,
  },
];

for (const { name, pod, namespace, settings, listFormat = 'glob', told } of ROWS) {
  test(`Compared with kube2iam: ${name}`, () => {
    const cluster = {
      pods: [podRecord({ namespace: 'team', name: 'pod', ...pod })],
      namespaces: [{ name: 'team', permitted: '', ...namespace }],
      serviceAccounts: [],
      binding: 'both',
      containerCredentials: undefined,
      baseArn: BASE,
      strict: true,
      listFormat,
      allowedTags: [],
      sessions: plainSessions('kiam'),
    } as const;
    const found = compareWithKube2iam(cluster, {
      defaultRole: '',
      isRestricted: false,
      ...settings,
    });
    assert.equal(found.length, 1);
    assert.match(`${found[0]?.verdict} ${found[0]?.says}`, told);
  });
}

test('Without the base ARN nothing is said of the pods', () => {
  const cluster = {
    pods: [],
    namespaces: [],
    serviceAccounts: [],
    binding: 'both',
    containerCredentials: undefined,
    baseArn: undefined,
    strict: true,
    listFormat: 'glob',
    allowedTags: [],
    sessions: plainSessions('kiam'),
  } as const;
  const [found] = compareWithKube2iam(cluster, { defaultRole: '', isRestricted: false });
  assert.equal(found?.verdict, 'cannot tell');
});
