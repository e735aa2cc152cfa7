import assert from 'node:assert/strict';
import test from 'node:test';

import type { CredentialSource } from '#agent/ports.ts';
import { failed, type FailureKind, succeeded } from '#domain/failure.ts';

import { CREDENTIALS, CREDENTIALS_TEXT, metadataAnswer, fakeMetadata, podRole, testAgent } from './fixture.ts';

const TEXT = 'text/plain; charset=utf-8';
const LIST = '/latest/meta-data/iam/security-credentials';
const NO_ROLE: Partial<CredentialSource> = {
  podRole: () => Promise.resolve(succeeded(podRole(''))),
  podCredentials: () => Promise.resolve(failed('role-empty', "role can't be empty")),
};

interface Row {
  readonly name: string;
  readonly url: string;
  readonly source?: Partial<CredentialSource>;
  readonly allow?: string;
  readonly status: number;
  readonly type?: string;
  readonly body: string;
}

const blocked = (path: string, allow = '^$') => `request blocked by allow-route-regexp "${allow}": ${path}\n`;

const ROWS: readonly Row[] = [
  { name: 'ping', url: '/ping', status: 200, body: 'pong' },
  { name: 'health is the instance id', url: '/health', status: 200, body: 'i-0rig' },
  { name: 'deep health with a healthy server', url: '/health?deep=1', status: 200, body: 'i-0rig' },
  {
    name: 'deep health without a server',
    url: '/health?deep=yes',
    source: { serverHealth: () => Promise.resolve(failed('server-unavailable', 'no server could be reached')) },
    status: 500,
    body: 'server health: no server could be reached\n',
  },
  { name: 'the role with a slash', url: `${LIST}/`, status: 200, body: 'reader' },
  { name: 'the role without a slash', url: LIST, status: 200, body: 'reader' },
  { name: 'the role under another version', url: LIST.replace('latest', '2016-09-02'), status: 200, body: 'reader' },
  { name: 'the role under a long version', url: LIST.replace('latest', 'v'.repeat(300)), status: 200, body: 'reader' },
  { name: 'the role with a query', url: `${LIST}/?x=1`, status: 200, body: 'reader' },
  { name: 'the role of a pod without one', url: `${LIST}/`, source: NO_ROLE, status: 404, body: 'empty role\n' },
  { name: 'credentials', url: `${LIST}/reader`, status: 200, type: 'application/json', body: CREDENTIALS_TEXT },
  {
    name: 'credentials with a slash',
    url: `${LIST}/reader/`,
    status: 200,
    type: 'application/json',
    body: CREDENTIALS_TEXT,
  },
  {
    name: 'credentials of another role',
    url: `${LIST}/writer`,
    status: 403,
    body: 'error fetching credentials: forbidden by policy\n',
  },
  { name: 'credentials of a pod without a role', url: `${LIST}/x`, source: NO_ROLE, status: 404, body: 'empty role\n' },
  {
    name: 'the extended list',
    url: `${LIST}-extended/`,
    allow: '.*',
    status: 404,
    body: blocked(`${LIST}-extended/`, '.*'),
  },
  {
    name: 'identity credentials',
    url: '/latest/meta-data/identity-credentials/ec2/info',
    allow: '.*',
    status: 404,
    body: blocked('/latest/meta-data/identity-credentials/ec2/info', '.*'),
  },
  {
    name: 'info about a role annotated as an ARN',
    url: '/latest/meta-data/iam/info',
    source: { podRole: () => Promise.resolve(succeeded(podRole('arn:aws-cn:iam::1:role/p/reader'))) },
    status: 200,
    type: 'application/json',
    body:
      '{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","InstanceProfileArn":' +
      '"arn:aws-cn:iam::1:instance-profile/p/reader","InstanceProfileId":"AIPA16BA2C43DB1A4D3B0"}\n',
  },
  {
    name: 'info about a short name',
    url: '/latest/meta-data/iam/info',
    status: 404,
    body: "the role's ARN is not known\n",
  },
  {
    name: 'info without a role',
    url: '/latest/meta-data/iam/info',
    source: NO_ROLE,
    status: 404,
    body: 'empty role\n',
  },
  { name: 'a path that is not allowed', url: '/latest/user-data', status: 404, body: blocked('/latest/user-data') },
  { name: 'the root', url: '/', status: 404, body: blocked('/') },
  { name: 'a GET of the token', url: '/latest/api/token', status: 404, body: blocked('/latest/api/token') },
  {
    name: 'a path found by the expression',
    url: '/latest/meta-data/instance-id',
    allow: 'instance',
    status: 200,
    type: 'text/plain',
    body: 'i-0rig',
  },
  {
    name: 'a doubly encoded path',
    url: '/latest/meta-data/%252e',
    allow: '.*',
    status: 400,
    body: 'the path is ambiguous\n',
  },
];

for (const { name, url, source, allow, status, type = TEXT, body } of ROWS) {
  test(`${name}: ${status}, and HEAD is the same without a body`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) });
    const { app } = testAgent({ ...(source && { source }), ...(allow !== undefined && { allow }) });
    const answer = await app.inject({ url });
    assert.equal(answer.statusCode, status);
    assert.equal(answer.headers['content-type'], type);
    assert.equal(answer.body, body.replace(/AIPA\w+/, /AIPA[0-9A-F]{17}/.exec(answer.body)?.[0] ?? 'no id'));
    const head = await app.inject({ url, method: 'HEAD' });
    assert.equal(head.statusCode, status);
    assert.equal(head.body, '');
    assert.equal(head.headers['content-length'], String(Buffer.byteLength(body)));
  });
}

const FAILURES: readonly (readonly [FailureKind, number, string, string])[] = [
  ['pod-not-found', 503, 'pod not found\n', 'error fetching credentials: no pod found\n'],
  ['multiple-pods', 503, 'why\n', 'error fetching credentials: why\n'],
  ['view-stale', 503, 'why\n', 'error fetching credentials: why\n'],
  ['sts-throttled', 503, 'why\n', 'error fetching credentials: why\n'],
  ['sts-unavailable', 503, 'why\n', 'error fetching credentials: why\n'],
  ['server-unavailable', 503, 'why\n', 'error fetching credentials: why\n'],
  ['role-empty', 404, 'empty role\n', 'empty role\n'],
  ['forbidden', 403, 'forbidden by policy\n', 'error fetching credentials: forbidden by policy\n'],
  ['sts-refused', 500, 'why\n', 'error fetching credentials: why\n'],
  ['internal', 500, 'why\n', 'error fetching credentials: why\n'],
];

for (const [kind, status, roleText, credentialsText] of FAILURES) {
  test(`a failure of kind ${kind} is ${status} in Kiam's words, with Retry-After where it may pass`, async () => {
    const failure = failed(kind, 'why');
    const { app } = testAgent({
      source: { podRole: () => Promise.resolve(failure), podCredentials: () => Promise.resolve(failure) },
    });
    for (const [url, body] of [
      [`${LIST}/`, roleText],
      [`${LIST}/reader`, credentialsText],
    ] as const) {
      const answer = await app.inject({ url });
      assert.equal(answer.statusCode, status);
      assert.equal(answer.body, body);
      assert.equal(answer.headers['retry-after'], status === 503 ? '1' : undefined);
      assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    }
  });
}

test('a message from a server stays one line', async () => {
  const { app } = testAgent({ source: { podRole: () => Promise.resolve(failed('internal', 'a\r\nb\u0000c')) } });
  assert.equal((await app.inject({ url: `${LIST}/` })).body, 'a b c\n');
});

for (const method of ['POST', 'DELETE', 'PATCH', 'OPTIONS', 'PUT', 'TRACE', 'PURGE', 'MKCOL'] as const) {
  test(`${method} is not allowed, whatever the path`, async () => {
    const { app, source, metadata } = testAgent({ allow: '.*' });
    for (const url of ['/ping', `${LIST}/reader`, '/latest/meta-data/instance-id', '/latest/api/token/']) {
      const answer = await app.inject({ method: method as 'POST', url });
      assert.equal(answer.statusCode, 405);
      assert.equal(answer.headers['allow'], 'GET, HEAD');
      assert.equal(answer.body, 'method not allowed\n');
    }
    assert.deepEqual([source.asked, metadata.asked], [[], []]);
  });
}

test('POST to the token names PUT among the allowed methods', async () => {
  const { app } = testAgent();
  const answer = await app.inject({ method: 'POST', url: '/latest/api/token' });
  assert.equal(answer.statusCode, 405);
  assert.equal(answer.headers['allow'], 'GET, HEAD, PUT');
});

test('what the source knows is answered without asking', async () => {
  const { app, source } = testAgent({
    source: {
      knownRole: () => podRole('known'),
      knownCredentials: (_client, role) => (role === 'known' ? CREDENTIALS : undefined),
    },
  });
  assert.equal((await app.inject({ url: `${LIST}/` })).body, 'known');
  assert.equal((await app.inject({ url: `${LIST}/known` })).body, CREDENTIALS_TEXT);
  assert.deepEqual(source.asked, []);
  assert.equal((await app.inject({ url: `${LIST}/reader` })).body, CREDENTIALS_TEXT);
  assert.deepEqual(source.asked, ['credentials 127.0.0.1 reader']);
});

test('a short role has its info where the source knows the ARN', async () => {
  const { app } = testAgent({ source: { knownRole: () => podRole('reader', 'arn:aws:iam::1:role/reader') } });
  const answer = await app.inject({ url: '/latest/meta-data/iam/info' });
  assert.match(answer.body, /"InstanceProfileArn":"arn:aws:iam::1:instance-profile\/reader"/);
});

test('a source that rejects is a 500 without its words, and the defect is logged once', async () => {
  const { app, lines } = testAgent({ source: { podRole: () => Promise.reject(new Error('secret')) } });
  const answer = await app.inject({ url: `${LIST}/` });
  assert.equal(answer.statusCode, 500);
  assert.doesNotMatch(answer.body, /secret/);
  assert.deepEqual(
    lines.filter(({ level }) => level === 'error').map(({ message }) => message),
    ['the credential source failed', 'error processing request: internal error'],
  );
});

test('a source that throws at once is a 500 too', async () => {
  const { app } = testAgent({
    source: {
      knownCredentials: () => {
        throw new Error('defect');
      },
    },
  });
  assert.equal((await app.inject({ url: `${LIST}/reader` })).body, 'internal error\n');
});

test('health asks the metadata service once a second, however many ask', async () => {
  const metadata = fakeMetadata();
  const { app } = testAgent({ metadata });
  await Promise.all([app.inject({ url: '/health' }), app.inject({ url: '/health' })]);
  await app.inject({ url: '/health' });
  assert.deepEqual(
    metadata.asked.map(({ path }) => path),
    ['/latest/meta-data/instance-id'],
  );
});

for (const [what, outcome, body] of [
  ['404', metadataAnswer(404, ''), 'metadata service: it answered 404\n'],
  ['a redirect', metadataAnswer(301, ''), 'metadata service: it answered 301\n'],
  ['nothing', { ok: false, reason: 'timed out', message: 'too slow' }, 'metadata service: too slow\n'],
] as const) {
  test(`health is 500 when the metadata service answers ${what}`, async () => {
    const { app } = testAgent({ metadata: fakeMetadata(() => outcome) });
    const answer = await app.inject({ url: '/health' });
    assert.equal(answer.statusCode, 500);
    assert.equal(answer.body, body);
  });
}

test('an expression that opens the user data is warned about at start', () => {
  assert.equal(testAgent({ allow: '^/latest/meta-data/' }).lines.length, 0);
  assert.equal(testAgent({ allow: '.*' }).lines[0]?.level, 'warn');
});

test("Kiam's metrics count what each handler did", async () => {
  const { app, registry } = testAgent({ allow: 'instance-id' });
  for (const url of [
    `${LIST}/`,
    `${LIST}/reader`,
    `${LIST}/writer`,
    '/health',
    '/latest/meta-data/instance-id',
    '/x',
  ]) {
    await app.inject({ url });
  }
  const { app: without, registry: withoutRole } = testAgent({ source: NO_ROLE });
  await without.inject({ url: `${LIST}/` });
  const text = await registry.metrics();
  for (const line of [
    'kiam_metadata_success_total{handler="roleName"} 1',
    'kiam_metadata_success_total{handler="credentials"} 1',
    'kiam_metadata_success_total{handler="proxy"} 1',
    'kiam_metadata_credential_fetch_errors_total{handler="credentials"} 1',
    'kiam_metadata_responses_total{handler="credentials",code="403"} 1',
    'kiam_metadata_responses_total{handler="health",code="200"} 1',
    'kiam_metadata_responses_total{handler="proxy",code="404"} 1',
    'kiam_metadata_proxy_requests_blocked_total 1',
    'kiam_metadata_handler_latency_seconds_count{handler="credentials"} 2',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  assert.match(await withoutRole.metrics(), /^kiam_metadata_empty_role_total\{handler="roleName"\} 1$/m);
});
