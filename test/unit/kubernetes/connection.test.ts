import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http, { type RequestListener, type Server } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { createConnection, type ApiRequest, type KubernetesConnection } from '#kubernetes/connection.ts';
import { systemClock } from '#runtime/clock.ts';
import { createAuthority } from '#pki/authority.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const authority = await createAuthority();

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kiam-connection-'));
  context.after(() => rmSync(path, { recursive: true }));
  return path;
}

async function listen(context: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(isAddressInfo(address));
  return address.port;
}

function isAddressInfo(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

function writeKubeconfig(path: string, server: string, user: Record<string, unknown>): string {
  const file = join(path, 'kubeconfig');
  const cluster = { server, 'certificate-authority-data': Buffer.from(authority.certificatePem).toString('base64') };
  writeFileSync(
    file,
    JSON.stringify({
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  return file;
}

function get(path: string, fields: Partial<ApiRequest> = {}): ApiRequest {
  const { signal } = new AbortController();
  return { method: 'GET', path, headersWithinMs: 5_000, silenceLimitMs: 5_000, signal, ...fields };
}

function connect(context: TestContext, kubeconfig: string, clock = systemClock): KubernetesConnection {
  const connection = createConnection({ kubeconfig, clock, environment: {} });
  context.after(() => connection.close());
  return connection;
}

async function overHttp(context: TestContext, listener: RequestListener, prefix = ''): Promise<string> {
  const port = await listen(context, http.createServer(listener));
  return writeKubeconfig(folder(context), `http://127.0.0.1:${port}${prefix}`, { token: 'secret-token\n' });
}

test('Requests go over TLS with the client certificate, and one connection serves many.', async (context) => {
  const { certificatePem, privateKeyPem } = await authority.issue({
    commonName: 'api',
    usage: 'server',
    ipAddresses: ['127.0.0.1'],
  });
  const ports = new Set<number | undefined>();
  const settings = { cert: certificatePem, key: privateKeyPem, ca: authority.certificatePem, requestCert: true };
  const port = await listen(
    context,
    https.createServer({ ...settings, rejectUnauthorized: true }, (request, response) => {
      ports.add(request.socket.remotePort);
      response.end(`${request.method} ${request.url}`);
    }),
  );
  const client = await authority.issue({ commonName: 'kiam', usage: 'client' });
  const file = writeKubeconfig(folder(context), `https://127.0.0.1:${port}`, {
    'client-certificate-data': Buffer.from(client.certificatePem).toString('base64'),
    'client-key-data': Buffer.from(client.privateKeyPem).toString('base64'),
  });
  const connection = connect(context, file);
  for (let count = 0; count < 3; count += 1) {
    const response = await connection.request(get('/api/v1/pods', { query: { limit: '5', continue: 'a b&c' } }));
    assert.equal(await response.text(1000), 'GET /api/v1/pods?limit=5&continue=a+b%26c');
  }
  assert.equal(ports.size, 1);
});

test('A request that wants a new connection gets one, and those that are kept open stay.', async (context) => {
  const ports: (number | undefined)[] = [];
  const listener: RequestListener = (request, response) => {
    ports.push(request.socket.remotePort);
    response.end();
  };
  const connection = connect(context, await overHttp(context, listener));
  for (const newConnection of [false, true, true, false]) {
    await (await connection.request(get('/', { newConnection }))).text(0);
  }
  assert.equal(new Set(ports).size, 3);
  assert.equal(ports[3], ports[0]);
});

test('A server that the cluster authority did not sign is refused.', async (context) => {
  const stranger = await (
    await createAuthority()
  ).issue({ commonName: 'api', usage: 'server', ipAddresses: ['127.0.0.1'] });
  const settings = { cert: stranger.certificatePem, key: stranger.privateKeyPem };
  const port = await listen(
    context,
    https.createServer(settings, (_, response) => response.end()),
  );
  const file = writeKubeconfig(folder(context), `https://127.0.0.1:${port}`, { token: 'secret-token' });
  await assert.rejects(connect(context, file).request(get('/')), /certificate/);
});

test('The token is sent without its line feed, under the prefix of the cluster, with body and type.', async (context) => {
  const seen: (string | undefined)[] = [];
  const listener: RequestListener = (request, response) => {
    seen.push(request.method, request.url, request.headers.authorization, request.headers['content-type']);
    request.pipe(response);
  };
  const connection = connect(context, await overHttp(context, listener, '/k8s/clusters/c-1/'));
  const body = '{"ü":1}';
  const response = await connection.request(
    get('/api/v1/x', { method: 'POST', body, contentType: 'application/json' }),
  );
  assert.equal(await response.text(100), body);
  assert.deepEqual(seen, ['POST', '/k8s/clusters/c-1/api/v1/x', 'Bearer secret-token', 'application/json']);
});

test('Credentials that changed in the file are used after they are renewed, and a broken file changes nothing.', async (context) => {
  const listener: RequestListener = (request, response) => response.end(request.headers.authorization);
  const port = await listen(context, http.createServer(listener));
  const path = folder(context);
  const file = writeKubeconfig(path, `http://127.0.0.1:${port}`, { token: 'old' });
  const connection = connect(context, file);
  const token = async (): Promise<string> => (await connection.request(get('/'))).text(100);
  assert.equal(await token(), 'Bearer old');
  writeFileSync(file, '{"clusters": [');
  connection.renewCredentials();
  assert.equal(await token(), 'Bearer old');
  writeKubeconfig(path, `http://127.0.0.1:${port}`, { token: 'new' });
  connection.renewCredentials();
  assert.equal(await token(), 'Bearer new');
});

test('An answer that does not come is given up, also when the signal ends it.', async (context) => {
  let requests = 0;
  const clock = new ManualClock();
  const connection = connect(context, await overHttp(context, () => (requests += 1)), clock);
  const late = connection.request(get('/', { headersWithinMs: 2_000 }));
  await Promise.race([late, untilSocket(() => requests === 1)]);
  await Promise.all([assert.rejects(late, /no answer within 2000 ms/), clock.advance(2_000)]);
  const controller = new AbortController();
  const aborted = connection.request(get('/', { signal: controller.signal }));
  await Promise.race([aborted, untilSocket(() => requests === 2)]);
  controller.abort();
  await assert.rejects(aborted);
  await assert.rejects(connection.request(get('/', { signal: controller.signal })));
});

test('A body that falls silent is an error and its connection is closed.', async (context) => {
  const clock = new ManualClock();
  let closed = false;
  const listener: RequestListener = (request, response) => {
    request.on('close', () => (closed = true));
    response.write('half');
  };
  const connection = connect(context, await overHttp(context, listener), clock);
  const response = await connection.request(get('/', { silenceLimitMs: 9_000 }));
  const text = response.text(100);
  await Promise.all([assert.rejects(text, /silent for 9000 ms/), clock.advance(9_000)]);
  await untilSocket(() => closed);
});

test('A body that is too long is an error.', async (context) => {
  const connection = connect(context, await overHttp(context, (_, response) => response.end('x'.repeat(1000))));
  await assert.rejects((await connection.request(get('/'))).text(999), /longer than 999/);
});

test('Retry-After is understood in seconds and nothing else.', async (context) => {
  const values = ['3', 'Wed, 21 Oct 2026 07:28:00 GMT'];
  const connection = connect(
    context,
    await overHttp(context, (_, response) => response.writeHead(429, { 'retry-after': values.shift() }).end()),
  );
  assert.equal((await connection.request(get('/'))).retryAfterMs, 3_000);
  assert.equal((await connection.request(get('/'))).retryAfterMs, undefined);
});

for (const [what, content] of [
  ['no cluster', '{}'],
  ['no valid server', '{"clusters":[{"name":"c","cluster":{"server":"::"}}]}'],
] as const) {
  test(`A kubeconfig with ${what} is refused with its name.`, (context) => {
    const file = join(folder(context), 'kubeconfig');
    writeFileSync(file, content);
    assert.throws(() => createConnection({ kubeconfig: file, clock: systemClock, environment: {} }), {
      message: new RegExp(file),
    });
  });
}

/** As `until`, for what happens over a socket. */
async function untilSocket(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
