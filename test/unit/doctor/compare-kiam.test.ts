import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plainSessions } from '#domain/attribution.ts';
import { compareWithKiam, type KiamVersion } from '#doctor/cluster/compare-kiam.ts';
import { hasTopLevelAlternatives } from '#doctor/cluster/alternatives.ts';
import { parseNameTemplate } from '#domain/name-template.ts';
import type { PodRecord } from '#domain/pod.ts';

import { podRecord } from '../../support/pods.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

interface Row {
  readonly name: string;
  readonly permitted: string;
  readonly pods: readonly Partial<PodRecord>[];
  readonly strict?: boolean;
  readonly version?: KiamVersion;
  readonly baseArn?: string | undefined;
  /** Verdict and the beginning of each line; `ok all pods` stands for no difference. */
  readonly told: readonly string[];
}

const LONG = `(?:${Array.from({ length: 200 }, (_, index) => `${BASE}role-number-${index}`).join('|')})`;

const NOT_ANNOTATED = { role: '', sessionName: '', externalId: '', sessionTags: [], ignoredTag: '' };

const ROWS: readonly Row[] = [
  {
    name: 'the same answer',
    permitted: `${BASE}.*`,
    pods: [{ role: 'app' }],
    told: ['ok all pods with a role, 1, are'],
  },
  { name: 'refused by both', permitted: `${BASE}other`, pods: [{ role: 'app' }], told: ['ok all pods'] },
  { name: 'a name alone, which is no ARN to either', permitted: 'app', pods: [{ role: 'app' }], told: ['ok all pods'] },
  { name: 'no expression', permitted: '', pods: [{ role: 'app' }], told: ['ok all pods'] },
  { name: 'refused by both as broken', permitted: '(', pods: [{ role: 'app' }], told: ['ok all pods'] },
  {
    name: 'an alternative that only begins as the role does',
    permitted: `${BASE}app|${BASE}web`,
    pods: [{ role: 'app-admin' }],
    told: [`wrong team/pod: Kiam serves app-admin; here it is refused: namespace policy expression`],
  },
  {
    name: 'alternatives that no pod needs more of',
    permitted: `${BASE}app|${BASE}web`,
    pods: [{ role: 'app' }],
    told: ['cannot tell team: '],
  },
  { name: 'alternatives in a group', permitted: `${BASE}(app|web)`, pods: [{ role: 'app' }], told: ['ok all pods'] },
  {
    name: 'alternatives where a part of the ARN is enough',
    permitted: 'app|web',
    strict: false,
    pods: [{ role: 'app-admin' }],
    told: ['ok all pods'],
  },
  {
    name: 'an expression that is too long here',
    permitted: LONG,
    pods: [{ role: 'role-number-7' }],
    told: ['wrong team/pod: Kiam serves role-number-7; here it is refused: namespace policy expression'],
  },
  { name: 'a long expression that no pod needs', permitted: LONG, pods: [], told: ['wrong team: Kiam takes'] },
  {
    name: 'an expression that costs too much here',
    permitted: `${BASE}(x?){500}x{500}`,
    pods: [],
    told: ['wrong team: Kiam takes'],
  },
  {
    name: 'hostNetwork',
    permitted: '.*',
    pods: [{ role: 'app', hostNetwork: true }],
    told: ['wrong team/pod: Kiam serves app; here it is refused: it has hostNetwork'],
  },
  {
    name: 'hostNetwork on a node that has more such pods, which Kiam cannot tell apart',
    permitted: '.*',
    pods: [
      { role: 'app', hostNetwork: true, addresses: ['192.0.2.1'] },
      { name: 'proxy', hostNetwork: true, addresses: ['192.0.2.1'] },
    ],
    told: ['ok all pods'],
  },
  {
    name: 'a mirror pod',
    permitted: '.*',
    pods: [{ role: 'app', mirror: true }],
    told: ['wrong team/pod: Kiam serves app; here it is refused: it is a mirror pod, which any kubelet can make'],
  },
  {
    name: 'one address on two nodes',
    permitted: '.*',
    pods: [
      { role: 'app', addresses: ['198.51.100.7'], nodeName: 'node-1' },
      { name: 'dead', role: 'app', addresses: ['198.51.100.7'], nodeName: 'node-2' },
    ],
    told: [
      'ok team/pod: Kiam refuses app (multiple running pods found); here it is served',
      'ok team/dead: Kiam refuses app (multiple running pods found); here it is served',
    ],
  },
  {
    name: 'one address on one node',
    permitted: '.*',
    pods: [
      { role: 'app', addresses: ['198.51.100.7'] },
      { name: 'dead', role: 'app', addresses: ['198.51.100.7'] },
    ],
    told: ['ok all pods'],
  },
  {
    name: 'a role with a slash before it',
    permitted: '.*',
    pods: [{ role: '/team/app' }],
    told: ['ok team/pod: Kiam redirects SDKs that ask for /team/app'],
  },
  {
    name: 'a pod that has ended',
    permitted: '.*',
    pods: [{ role: 'app', hostNetwork: true, phase: 'Succeeded' }],
    told: ['ok all pods with a role, 0,'],
  },
  {
    name: 'a pattern of a shell, which Kiam’s anchors make an expression',
    permitted: '*',
    pods: [{ role: 'app' }],
    told: ['wrong team/pod: Kiam serves app; here it is refused: namespace policy expression'],
  },
  {
    name: 'a role that Kiam 3 found by its short name',
    permitted: '^team-a/reporter$',
    version: 3,
    pods: [{ role: 'team-a/reporter' }],
    told: ['wrong team/pod: Kiam serves team-a/reporter; here it is refused: namespace policy expression'],
  },
  {
    name: 'a part of a role, which was enough for Kiam 3',
    permitted: 'reporter',
    version: 3,
    pods: [{ role: `${BASE}team-a/reporter-2` }],
    told: [`wrong team/pod: Kiam serves ${BASE}team-a/reporter-2; here it is refused`],
  },
  {
    name: 'an expression for ARNs, which Kiam 3 did not see in a short name',
    permitted: `${BASE}.*`,
    version: 3,
    pods: [{ role: 'app' }],
    told: ['ok team/pod: Kiam refuses app (forbidden by policy); here it is served'],
  },
  {
    name: 'an expression of Kiam 3 that no pod needs',
    permitted: 'team-a/.*',
    version: 3,
    pods: [],
    told: ["cannot tell team: Kiam 3 looks for 'team-a/.*'"],
  },
  { name: 'an expression that means the same to Kiam 3', permitted: '.*', version: 3, pods: [], told: ['ok all pods'] },
  {
    name: 'a short role name without a base ARN',
    permitted: '.*',
    baseArn: undefined,
    pods: [{ role: 'app' }, { name: 'full', role: `${BASE}app` }],
    told: ['cannot tell team/pod: the ARN of its short role app is not known'],
  },
  {
    name: 'a role of the ServiceAccount, which Kiam does not read',
    permitted: '.*',
    pods: [{ role: 'app', roleSource: 'service-account', annotated: NOT_ANNOTATED }],
    told: ['ok team/pod: Kiam refuses app (the pod itself is annotated with no role); here it is served'],
  },
  {
    name: 'a role of the ServiceAccount in place of the annotated one',
    permitted: '.*',
    pods: [
      {
        role: 'app',
        roleSource: 'service-account',
        annotated: { ...NOT_ANNOTATED, role: 'own' },
      },
    ],
    told: ['wrong team/pod: Kiam serves own, as annotated; here it gets app, from its ServiceAccount'],
  },
  {
    name: 'an annotation that does not count any more',
    permitted: '.*',
    pods: [
      {
        role: '',
        roleSource: 'service-account',
        annotated: { ...NOT_ANNOTATED, role: 'own' },
      },
    ],
    told: ['wrong team/pod: Kiam serves own; here it is refused: with --binding=serviceaccount its own annotation'],
  },
];

for (const { name, permitted, pods, strict = true, version = 4, told, ...row } of ROWS) {
  test(`compared with Kiam: ${name}`, () => {
    const baseArn = 'baseArn' in row ? row.baseArn : BASE;
    const cluster = {
      pods: pods.map((pod) => podRecord({ namespace: 'team', name: 'pod', ...pod })),
      namespaces: [{ name: 'team', permitted }],
      serviceAccounts: [],
      binding: 'both' as const,
      containerCredentials: undefined,
      baseArn,
      strict,
      listFormat: 'glob' as const,
      allowedTags: [],
      sessions: plainSessions('kiam'),
    };
    const observations = compareWithKiam(cluster, version);
    const lines = observations.map(({ verdict, says }) => `${verdict} ${says}`);
    assert.equal(lines.length, told.length, lines.join('\n'));
    told.forEach((beginning, index) => assert.ok(lines[index]?.startsWith(beginning), lines[index]));
    for (const observation of observations) assert.ok(observation.verdict === 'ok' || observation.fix !== '');
  });
}

test('a migration to sessions with other names and tags is told with what they need', () => {
  const parsed = parseNameTemplate('{namespace}.{serviceAccount}');
  assert.ok(parsed.ok);
  const sessions = {
    ...plainSessions('kiam'),
    nameTemplate: parsed.value,
    sourceIdentity: parsed.value,
    tags: 'workload',
  } as const;
  const pod = { namespace: 'team', serviceAccount: 'app' };
  const lines = compareWithKiam(
    {
      pods: [
        podRecord({ ...pod, name: 'a', sessionTags: [['cost', 'x']] }),
        podRecord({ ...pod, uid: 'uid-2', name: 'b', addresses: ['192.0.2.2'], sessionTags: [['cost', 'a;b']] }),
      ],
      namespaces: [{ name: 'team', permitted: '.*' }],
      serviceAccounts: [],
      binding: 'both',
      containerCredentials: undefined,
      baseArn: BASE,
      strict: true,
      listFormat: 'glob',
      allowedTags: ['cost'],
      sessions,
    },
    4,
  ).map(({ verdict, says }) => `${verdict} ${says}`);
  assert.deepEqual(
    lines.map((line) => line.slice(0, 200)),
    [
      "wrong team/b: Kiam serves reader; here it is refused: the session tag 'cost' is not valid: the value of a session tag has at most 256 letters, digits, spaces and _.:/=+-@",
      "cannot tell sessions have other names than Kiam's: that of team/a is team.app, with Kiam kiam-kiam",
      'cannot tell sessions have a source identity, that of team/a is team.app',
      'cannot tell sessions have tags, those of team/a are kubernetes-namespace=team, kubernetes-service-account=app, cost=x',
    ],
  );
});

test('alternatives count where no group, class, escape or quotation holds them', () => {
  const cases: readonly [string, boolean][] = [
    ['a|b', true],
    ['(a)|b', true],
    ['[|]|b', true],
    ['a||b', true],
    ['(?:a|b)', false],
    ['((a|b)c)d', false],
    ['[a|b]', false],
    ['[]|]', false],
    ['[^]|]', false],
    ['[[:alpha:]|]', false],
    ['[\\]|]', false],
    ['a\\|b', false],
    ['\\Qa|b\\E', false],
    ['\\Qa|b', false],
    ['\\(a|b\\)', true],
    ['', false],
  ];
  for (const [expression, expected] of cases) assert.equal(hasTopLevelAlternatives(expression), expected, expression);
});
