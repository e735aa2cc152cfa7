import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { ALLOWED_ROLES_ANNOTATION as LIST } from '#domain/allowed-roles.ts';
import { EXTERNAL_ID_ANNOTATION, ROLE_ANNOTATION as ROLE } from '#domain/pod.ts';

import { type Answer, askHttp, LISTING } from '../support/cluster.ts';
import { type Kube2iamAnswer, ourKube2iamAnswer } from './answers.ts';
import { KUBE2IAM_DIFFERENCES, type Kube2iamDifference, textIn } from './differences.ts';
import { askInTime, type Kube2iamNode, putKube2iamFixtures, startKube2iamNode } from './node.ts';
import { type RealKube2iam, startRealKube2iam, withoutKube2iam } from './real-kube2iam.ts';
import { KUBE2IAM_FIXTURES, KUBE2IAM_TRANSCRIPT, type Kube2iamCase } from './recorded.ts';

const BASE_ARN = 'arn:aws:iam::123456789012:role/';
const BASE = `--base-role-arn=${BASE_ARN}`;
const RESTRICTED = '--namespace-restrictions';

/** Beside the settings of the recording. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  ...KUBE2IAM_FIXTURES.settings,
  'no base ARN': [RESTRICTED],
  'base ARN with a path': [`${BASE}team-a`, RESTRICTED],
  'default role of another account, regexp': [
    BASE,
    '--default-role=arn:aws:iam::999999999999:role/other',
    RESTRICTED,
    '--namespace-restriction-format=RegExp',
  ],
  'default role with a path': [BASE, '--default-role=team-a/app', RESTRICTED],
  'another key of namespaces': [BASE, RESTRICTED, '--namespace-key=example.com/allowed'],
  'another key of roles': [BASE, '--iam-role-key=example.com/role'],
  'discovered, restricted': ['--auto-discover-base-arn', `${RESTRICTED}=1`],
  'discovered default, restricted': ['--auto-discover-default-role=T', RESTRICTED],
};

/** Lists of namespaces; a pod of the role `reader` is in each. */
const LISTS: Readonly<Record<string, string>> = {
  'another-case': '["READER"]',
  'arn-in-capitals': '["ARN:AWS:*"]',
  stars: '["**"]',
  inner: '["r*e*r"]',
  'two-stars': '["re**er"]',
  ending: '["*reader"]',
  beginning: '["reader*"]',
  'an-empty-entry': '[""]',
  nothing: 'null',
  'nothing-inside': '[null]',
  'a-number-inside': '["reader", 5]',
  'a-list-inside': '[["reader"]]',
  'an-object': '{"a":1}',
  'a-text': '"*"',
  'either-first': '["reader|writer"]',
  'either-last': '["writer|reader"]',
  'flags-before-the-base': '["(?i)READER"]',
  flags: '["arn:(?i).*READER"]',
  class: '["arn:.*:role/re\\\\w+"]',
  'a-broken-entry': '["[[", "reader"]',
  anything: '["arn:.*"]',
  blanks: ' [ "reader" ] ',
  escaped: '["\\u0072eader"]',
  'more-behind': '["reader"] x',
  'a-question-mark': '["reade?"]',
  brackets: '["reade[r]"]',
  anchors: '["^reader$"]',
  'an-end': '["reader$"]',
  'a-mark-before': '\ufeff["reader"]',
};

/** Roles of pods in a namespace that allows everything. */
const ROLES: Readonly<Record<string, string>> = {
  'its-whole-arn': `${BASE_ARN}reader`,
  'arn-in-capitals': `ARN:aws:iam::123456789012:role/reader`,
  percent: 'a%2Fb',
  plus: 'a+b',
  'all-signs': 'a@b,c=d.e-f_g',
  accents: 'rôle',
  'the-base-arn': BASE_ARN,
  'a-prefix': 'arn:',
  question: 'a?b',
  star: '*',
  fallback: 'fallback',
  'a-path': 'team-a/app',
  blank: ' ',
  quotes: '"q"',
};

const POD = '127.0.1.4';
const PATHS = [
  `${LISTING}reader//`,
  `${LISTING}/reader`,
  `${LISTING}./reader`,
  `${LISTING}x/../reader`,
  `${LISTING}../security-credentials/reader`,
  `${LISTING}reader%2F`,
  `${LISTING}%72eader`,
  `${LISTING}reader?x=1`,
  `${LISTING}?x=1`,
  `${LISTING.slice(0, -1)}?x`,
  `${LISTING}${encodeURIComponent(`${BASE_ARN}reader`)}`,
  `${LISTING}${BASE_ARN}writer`,
  `${LISTING}READER`,
  `${LISTING}reader%20`,
  `${LISTING}${'x'.repeat(2000)}`,
  '/latest//meta-data/iam/security-credentials/',
  '//latest/meta-data/iam/security-credentials/',
  '/LATEST/meta-data/iam/security-credentials/',
  '/1.0/meta-data/iam/security-credentials/',
  '/latest/meta-data/%69am/security-credentials/reader',
  '/latest/meta-data/iam%2Fsecurity-credentials/reader',
  '/healthz/',
  '/healthz?x',
  '/debug/store/',
  '/debug',
  '/metrics/',
  '/ping',
  '/health',
  '/latest/dynamic/instance-identity/document',
  '/latest/meta-data/',
  '/latest/meta-data',
  '/latest',
  '/latest/nothing',
  '/latest/user-data/',
  '/latest/meta-data/instance-id/',
  '/latest/meta-data/instance-id?x',
  '/%2e%2e/latest',
  '/favicon.ico',
  '/latest/api/token',
  '/latest/meta-data/iam',
  '/latest/meta-data/iam/',
  '/latest/meta-data/iam/security-credentials-extended/reader',
];

interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly phase?: string;
}

const PODS: readonly Pod[] = [
  ...Object.keys(LISTS).map((name) => ({
    namespace: `list-${name}`,
    name: 'reader',
    annotations: { [ROLE]: 'reader' },
  })),
  ...Object.entries(ROLES).map(([name, role]) => ({ namespace: 'roles', name, annotations: { [ROLE]: role } })),
  { namespace: 'roles', name: 'no-external-id', annotations: { [ROLE]: 'reader', [EXTERNAL_ID_ANNOTATION]: '' } },
  { namespace: 'no-such', name: 'reader', annotations: { [ROLE]: 'reader' } },
  { namespace: 'roles', name: 'failed', annotations: { [ROLE]: 'reader' }, phase: 'Failed' },
  { namespace: 'roles', name: 'unknown-phase', annotations: { [ROLE]: 'reader' }, phase: 'Unknown' },
];
const addressOf = (index: number): string => `127.0.2.${index + 1}`;

type Question = Pick<Kube2iamCase, 'name' | 'request'>;

const QUESTIONS: readonly Question[] = [
  ...new Map(
    // What the pod's own role is: seen in the replay, and told in each program's own form.
    KUBE2IAM_TRANSCRIPT.filter(({ name }) => name !== 'proxy iam info').map(({ name, request }) => [
      JSON.stringify([name, request]),
      { name, request },
    ]),
  ).values(),
  ...PODS.flatMap(({ namespace, name, annotations }, index) => {
    const role = encodeURI(annotations[ROLE] ?? 'reader').replaceAll('?', '%3F');
    const request = { from: addressOf(index), method: 'GET' };
    return [
      { name: `list ${namespace}/${name}`, request: { ...request, path: LISTING } },
      { name: `creds ${namespace}/${name}`, request: { ...request, path: LISTING + role } },
    ];
  }),
  ...PATHS.map((path) => ({ name: `path ${path.slice(0, 80)}`, request: { from: POD, method: 'GET', path } })),
  ...['POST', 'PUT', 'DELETE', 'OPTIONS'].flatMap((method) =>
    [LISTING, `${LISTING}reader`, '/healthz', '/latest/meta-data/instance-id'].map((path) => ({
      name: `${method} ${path}`,
      request: { from: POD, method, path },
    })),
  ),
  ...['0', '', '60'].map((seconds) => ({
    name: `token for ${seconds || 'no'} seconds`,
    request: {
      from: POD,
      method: 'PUT',
      path: '/2021-01-01/api/token',
      headers: seconds === '' ? {} : { 'x-aws-ec2-metadata-token-ttl-seconds': seconds },
    },
  })),
];

const LEFT_OUT =
  'An entry of a list that is no text is left out. kube2iam reads `["reader", 5]` as `["reader", ""]`, and with `--namespace-restriction-format=regexp` the empty entry permits every role of the account.';

/** What shows with the program itself and in no answer of the recording. */
const MORE_DIFFERENCES: readonly Kube2iamDifference[] = [
  {
    sentence:
      "`iam/info` is about the pod's role, and nothing below `iam/` and `identity-credentials/` is ever proxied; kube2iam shows the node's profile.",
    applies: ({ request }) => /\/iam(?:\/|\/security-credentials-extended.*)?$/.test(request.path),
    ours: (kube2iam, { request }) => ({
      ...kube2iam,
      status: 404,
      type: 'text/plain; charset=utf-8',
      server: '',
      body: `request blocked by allow-route-regexp ".*": ${request.path}\n`,
    }),
  },
  {
    sentence: LEFT_OUT,
    applies: ({ name, setting }) => /list-(?:nothing|a-list)-inside/.test(name) && /regexp/.test(setting),
    ours: (kube2iam, { request, name }) => ({
      ...kube2iam,
      status: 404,
      type: 'text/plain; charset=utf-8',
      body: `role requested ${BASE_ARN}reader not valid for namespace of pod at ${request.from} with namespace ${name.replace(/^.* (.*)\/.*$/, '$1')}\n`,
    }),
  },
  {
    sentence: LEFT_OUT,
    applies: ({ name, setting }) => name === 'debug store' && setting === 'debug',
    ours: (kube2iam) => ({
      ...kube2iam,
      body: textIn(kube2iam)
        .replaceAll('-inside":[""]', '-inside":[]')
        .replace('-inside":["reader",""]', '-inside":["reader"]'),
    }),
  },
  {
    sentence:
      'Without a base ARN a pod whose annotation is empty is answered as one without the annotation; neither gets anything.',
    applies: ({ name, setting }) => setting === 'no base ARN' && name.endsWith('none/empty-role'),
    ours: (kube2iam, { request }) => ({
      ...kube2iam,
      status: 404,
      type: 'text/plain; charset=utf-8',
      body: `unable to find role for IP ${request.from}\n`,
    }),
  },
];

for (const [setting, flags] of Object.entries(SETTINGS)) {
  describe(`kube2iam and ours, side by side: ${setting}`, { skip: withoutKube2iam, concurrency: 6 }, () => {
    let node: Kube2iamNode;
    let real: RealKube2iam;
    let port: number;

    before(async () => {
      const instance = { instanceId: 'i-0rig', roleName: 'node-role', userData: 'data' };
      node = await startKube2iamNode({ requireMetadataToken: false, instance });
      putKube2iamFixtures(node.world);
      putMore(node);
      const both = ['--backoff-max-elapsed-time=700ms', '--backoff-max-interval=100ms', ...flags];
      real = await startRealKube2iam(node.world, both);
      ({ port } = await node.start(both));
    });
    after(async () => {
      await real.close();
      await node.close();
    });

    // Without a base ARN STS refuses the role, and an answer without a body does not tell why.
    const asked = QUESTIONS.filter(({ request }) => request.method !== 'HEAD' || setting !== 'no base ARN');
    for (const question of asked) {
      it(question.name, async () => {
        const { method, from, path, headers = {} } = question.request;
        const askReal = (at: string): Promise<Answer> => askHttp({ port: real.port, from, method, path: at, headers });
        let theirs = await askReal(path);
        // Ours answers at once what kube2iam redirects to.
        if (theirs.status === 301) theirs = await askReal(theirs.headers['location']?.toString() ?? '');
        const ours = await askInTime(() => askHttp({ port, from, method, path, headers }));
        const { status, body, tookMs } = theirs;
        const response = { status, headers: {}, body, slow: tookMs > 1000 };
        const wanted = [...KUBE2IAM_DIFFERENCES, ...MORE_DIFFERENCES]
          .filter(({ applies }) => applies({ ...question, setting, response }))
          .reduce(
            (answer, { ours: change }) => change(answer, { ...question, setting, response }),
            ourKube2iamAnswer(node.world, theirs),
          );
        const isHead = method === 'HEAD';
        assert.deepEqual(withoutBody(isHead, ourKube2iamAnswer(node.world, ours)), withoutBody(isHead, wanted));
      });
    }
  });
}

it('docs/migrating-from-kube2iam.md has a sentence for what shows beside the program only', async () => {
  const page = await readFile(new URL('../../docs/migrating-from-kube2iam.md', import.meta.url), 'utf8');
  for (const { sentence } of MORE_DIFFERENCES) assert.ok(page.includes(`- ${sentence}\n`), sentence);
});

function withoutBody(isHead: boolean, answer: Kube2iamAnswer): Kube2iamAnswer {
  return isHead ? { ...answer, body: '' } : answer;
}

function putMore({ world: { api } }: Kube2iamNode): void {
  const namespaces = [
    ...Object.entries(LISTS).map(([name, text]) => [`list-${name}`, text] as const),
    ['roles', '["*"]'] as const,
  ];
  for (const [name, text] of namespaces) {
    api.putNamespace({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations: { [LIST]: text } } });
  }
  for (const [index, { namespace, name, annotations, phase = 'Running' }] of PODS.entries()) {
    const ip = addressOf(index);
    api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, annotations: { ...annotations } },
      spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'app' }] },
      status: { phase, hostIP: '127.0.0.1', podIP: ip, podIPs: [{ ip }] },
    });
  }
}
