import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http, { type IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { TLSSocket } from 'node:tls';
import { createConnection } from '#kubernetes/connection.ts';
import { createAuthority } from '#pki/authority.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const authority = await createAuthority();
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** What the API server saw of a request. */
interface Seen {
  readonly headers: IncomingHttpHeaders;
  /** The common name of the client's certificate; undefined for none. */
  readonly client: string | undefined;
}

interface Scene {
  readonly folder: string;
  readonly clock: ManualClock;
  readonly ask: () => Promise<Seen>;
  readonly renew: () => void;
}

interface SceneOptions {
  readonly user: Readonly<Record<string, unknown>>;
  readonly cluster?: Readonly<Record<string, unknown>>;
  readonly secure?: boolean;
  /** Written beside the kubeconfig first. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A client with this user before an API server that says what it saw. */
async function scene(
  context: TestContext,
  { user, cluster = {}, secure = false, files = {} }: SceneOptions,
): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'kiam-kubeconfig-'));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o700 });
  const listener: http.RequestListener = (request, response) => {
    const { socket, headers } = request;
    const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate().subject : undefined;
    response.end(JSON.stringify({ headers, client: certificate?.CN }));
  };
  const server = secure ? https.createServer(await servingOptions(), listener) : http.createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(isAddressInfo(address));
  const kubeconfig = join(folder, 'kubeconfig');
  const config = {
    clusters: [
      { name: 'c', cluster: { server: `${secure ? 'https' : 'http'}://127.0.0.1:${address.port}`, ...cluster } },
    ],
    users: [
      { name: 'other', user: { token: 'of-somebody-else' } },
      { name: 'u', user },
    ],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const clock = new ManualClock();
  const connection = createConnection({
    kubeconfig,
    clock,
    environment: { PATH: process.env['PATH'], INHERITED: 'yes' },
  });
  context.after(() => connection.close());
  const { signal } = new AbortController();
  return {
    folder,
    clock,
    renew: () => connection.renewCredentials(),
    ask: async () => {
      const request = { method: 'GET', path: '/', headersWithinMs: 5_000, silenceLimitMs: 5_000, signal } as const;
      return JSON.parse(await (await connection.request(request)).text(100_000));
    },
  };
}

/** Only `api.kiam.test` is in its certificate. */
async function servingOptions(): Promise<https.ServerOptions> {
  const { certificatePem, privateKeyPem } = await authority.issue({
    commonName: 'api',
    usage: 'server',
    dnsNames: ['api.kiam.test'],
  });
  return {
    cert: certificatePem,
    key: privateKeyPem,
    ca: authority.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  };
}

function isAddressInfo(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

test('The token of a user’s tokenFile is sent, and read again once a minute; the last one counts while the file is away.', async (context) => {
  const it = await scene(context, { user: { tokenFile: 'token', token: 'older' }, files: { token: 'first\n' } });
  const token = async (): Promise<string | undefined> => (await it.ask()).headers.authorization;
  const file = join(it.folder, 'token');
  assert.equal(await token(), 'Bearer first');
  writeFileSync(file, 'second\n');
  await it.clock.advance(59_999);
  assert.equal(await token(), 'Bearer first');
  await it.clock.advance(1);
  assert.equal(await token(), 'Bearer second');
  rmSync(file);
  await it.clock.advance(60_000);
  assert.equal(await token(), 'Bearer second');
  writeFileSync(file, 'third');
  it.renew();
  assert.equal(await token(), 'Bearer third');
});

for (const [what, files] of [
  ['is away', {}],
  ['is empty', { token: '\n' }],
] as const) {
  test(`A tokenFile that ${what} is an error that names it, and nobody is asked without a token.`, async (context) => {
    const it = await scene(context, { user: { tokenFile: 'token' }, files });
    await assert.rejects(it.ask(), (error: Error) => error.message.includes(join(it.folder, 'token')));
  });
}

/** A plugin that leaves a line in `runs` and gives a token with the number of its run. */
const PLUGIN = `#!/bin/sh
cat > /dev/null
echo "$KUBERNETES_EXEC_INFO $INHERITED $EXTRA $*" >> "$RUNS"
sleep 0.2
number=$(wc -l < "$RUNS")
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"run-%d"%s}}' $number "$MORE"
`;

/** The wall clock of the tests begins on 2026-01-01. */
const EXPIRES = ',"expirationTimestamp":"2026-01-01T00:10:00Z"';

function pluginUser(folderOf: string, more = ''): Readonly<Record<string, unknown>> {
  return {
    exec: {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: './plugin',
      args: ['get', 'token'],
      interactiveMode: 'IfAvailable',
      env: [
        { name: 'RUNS', value: folderOf },
        { name: 'EXTRA', value: 'given' },
        { name: 'MORE', value: more },
      ],
    },
  };
}

function runsFile(context: TestContext): { readonly path: string; readonly lines: () => readonly string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'kiam-plugin-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'runs');
  writeFileSync(path, '');
  return { path, lines: () => readFileSync(path, 'utf8').trim().split('\n') };
}

test('An exec plugin runs once for all who ask at once, and again when its token has expired or is refused.', async (context) => {
  const runs = runsFile(context);
  const it = await scene(context, { user: pluginUser(runs.path, EXPIRES), files: { plugin: PLUGIN } });
  const tokens = async (count: number): Promise<Set<string | undefined>> => {
    const seen = await Promise.all(Array.from({ length: count }, () => it.ask()));
    return new Set(seen.map(({ headers }) => headers.authorization));
  };
  assert.deepEqual(await tokens(40), new Set(['Bearer run-1']));
  await it.clock.advance(9 * 60_000 + 59_000);
  assert.deepEqual(await tokens(2), new Set(['Bearer run-1']));
  it.renew();
  assert.deepEqual(await tokens(40), new Set(['Bearer run-2']));
  await it.clock.advance(1_000);
  assert.deepEqual(await tokens(40), new Set(['Bearer run-3']));
});

test('A plugin is told what it is asked for, and what it gives without an end is kept.', async (context) => {
  const runs = runsFile(context);
  const it = await scene(context, { user: pluginUser(runs.path), files: { plugin: PLUGIN } });
  await it.ask();
  await it.clock.advance(1_000_000_000);
  await it.ask();
  const info = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}';
  assert.deepEqual(runs.lines(), [`${info} yes given get token`]);
});

test('A certificate that a plugin gives is shown to the API server.', async (context) => {
  const { certificatePem, privateKeyPem } = await authority.issue({ commonName: 'from-plugin', usage: 'client' });
  const credential = {
    kind: 'ExecCredential',
    apiVersion: 'client.authentication.k8s.io/v1',
    status: { clientCertificateData: certificatePem, clientKeyData: privateKeyPem },
  };
  const it = await scene(context, {
    secure: true,
    cluster: { 'certificate-authority-data': base64(authority.certificatePem), 'tls-server-name': 'api.kiam.test' },
    user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'cat', args: [] } },
    files: {},
  });
  writeFileSync(join(it.folder, 'credential'), JSON.stringify(credential));
  await assert.rejects(it.ask(), /the credential plugin cat wrote no ExecCredential/);
  const config = JSON.parse(readFileSync(join(it.folder, 'kubeconfig'), 'utf8'));
  config.users[1].user.exec.args = [join(it.folder, 'credential')];
  writeFileSync(join(it.folder, 'kubeconfig'), JSON.stringify(config));
  it.renew();
  assert.equal((await it.ask()).client, 'from-plugin');
});

const failures: readonly (readonly [what: string, script: string, message: RegExp])[] = [
  ['fails', 'echo "you are\nnot logged in" >&2; exit 3', /plugin \S+plugin failed: you are not logged in$/],
  ['writes something else', 'echo hello', /wrote no ExecCredential/],
  [
    'answers in another version',
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"t"}}'`,
    /answered in client.authentication.k8s.io\/v1beta1, while the kubeconfig says client.authentication.k8s.io\/v1/,
  ],
  [
    'gives nothing',
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'`,
    /gave neither a token nor a certificate/,
  ],
  [
    'gives a certificate without its key',
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientCertificateData":"c"}}'`,
    /gave a certificate or a key without the other/,
  ],
];

for (const [what, script, message] of failures) {
  test(`A plugin that ${what} is an error that says so, and nobody is asked without credentials.`, async (context) => {
    const files = { plugin: `#!/bin/sh\n${script}\n` };
    const it = await scene(context, { user: pluginUser('/dev/null'), files });
    await assert.rejects(it.ask(), message);
  });
}

test('A plugin that is not there is an error that names it.', async (context) => {
  const it = await scene(context, { user: pluginUser('/dev/null') });
  await assert.rejects(it.ask(), /the credential plugin \S+\/plugin .*ENOENT/);
});

test('tls-server-name is the name that is asked for and verified, and data go before files.', async (context) => {
  const client = await authority.issue({ commonName: 'by-data', usage: 'client' });
  const other = await authority.issue({ commonName: 'by-file', usage: 'client' });
  const user = {
    'client-certificate-data': base64(client.certificatePem),
    'client-certificate': 'client.pem',
    'client-key-data': base64(client.privateKeyPem),
    'client-key': 'client-key.pem',
  };
  const stranger = await createAuthority();
  const files = {
    'client.pem': other.certificatePem,
    'client-key.pem': other.privateKeyPem,
    'ca.pem': stranger.certificatePem,
  };
  const cluster = {
    'tls-server-name': 'api.kiam.test',
    'certificate-authority-data': base64(authority.certificatePem),
    'certificate-authority': 'ca.pem',
  };
  const it = await scene(context, { secure: true, user, cluster, files });
  assert.equal((await it.ask()).client, 'by-data');
});

test('Certificates in files beside the kubeconfig are read, and insecure-skip-tls-verify verifies none.', async (context) => {
  const client = await authority.issue({ commonName: 'by-file', usage: 'client' });
  const files = {
    'client.pem': client.certificatePem,
    'client-key.pem': client.privateKeyPem,
    'ca.pem': authority.certificatePem,
  };
  const user = { 'client-certificate': 'client.pem', 'client-key': 'client-key.pem' };
  const named = { 'certificate-authority': 'ca.pem', 'tls-server-name': 'api.kiam.test' };
  assert.equal((await (await scene(context, { secure: true, user, cluster: named, files })).ask()).client, 'by-file');
  const unnamed = { 'certificate-authority': 'ca.pem' };
  const strict = await scene(context, { secure: true, user, cluster: unnamed, files });
  await assert.rejects(strict.ask(), /does not match certificate/);
  const lax = await scene(context, { secure: true, user, cluster: { 'insecure-skip-tls-verify': true }, files });
  assert.equal((await lax.ask()).client, 'by-file');
});

test('Name and password, and everything of whom to impersonate, are sent.', async (context) => {
  const user = {
    username: 'kiam',
    password: 'p:w',
    as: 'deputy',
    'as-groups': ['team', 'ops'],
    'as-uid': '7',
    'as-user-extra': { 'example.com/scope': ['a'] },
  };
  const { headers } = await (await scene(context, { user })).ask();
  assert.equal(headers.authorization, `Basic ${base64('kiam:p:w')}`);
  assert.equal(headers['impersonate-user'], 'deputy');
  assert.equal(headers['impersonate-group'], 'team, ops');
  assert.equal(headers['impersonate-uid'], '7');
  assert.equal(headers['impersonate-extra-example.com%2fscope'], 'a');
});
