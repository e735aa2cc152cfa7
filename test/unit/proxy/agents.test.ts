import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { createStsClient } from '#aws/sts-client.ts';
import { createConnection, type KubernetesConnection } from '#kubernetes/connection.ts';
import { createAuthority } from '#pki/authority.ts';
import { systemClock } from '#runtime/clock.ts';
import { startSts } from '#sandbox/sts/sts.ts';
import {
  startStandInProxy,
  startStandInSocks,
  type ProxyOptions,
  type StandInProxy,
} from '../../support/stand-in-proxy.ts';

const API = 'api.kiam.test';
const authority = await createAuthority();

interface ApiServer {
  readonly port: number;
  /** The source ports that requests came from. */
  readonly clients: Set<number | undefined>;
}

/** An API server that answers every request with its path, as `api.kiam.test` and on loopback. */
async function startApi(context: TestContext, secure = true): Promise<ApiServer> {
  const clients = new Set<number | undefined>();
  const listener: http.RequestListener = (request, response) => {
    clients.add(request.socket.remotePort);
    response.end(request.url);
  };
  const names = { dnsNames: [API], ipAddresses: ['127.0.0.1'] };
  const { certificatePem, privateKeyPem } = await authority.issue({ commonName: 'api', usage: 'server', ...names });
  const server = secure
    ? https.createServer({ cert: certificatePem, key: privateKeyPem }, listener)
    : http.createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(isAddressInfo(address));
  return { port: address.port, clients };
}

function isAddressInfo(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

async function startProxy(context: TestContext, options?: ProxyOptions): Promise<StandInProxy> {
  const proxy = await startStandInProxy(options);
  context.after(() => proxy.close());
  return proxy;
}

interface Place {
  readonly server: string;
  readonly proxyUrl?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

function connectTo(context: TestContext, { server, proxyUrl, environment = {} }: Place): KubernetesConnection {
  const folder = mkdtempSync(join(tmpdir(), 'kiam-proxy-'));
  const kubeconfig = join(folder, 'kubeconfig');
  const cluster = {
    server,
    'certificate-authority-data': Buffer.from(authority.certificatePem).toString('base64'),
    ...(proxyUrl === undefined ? {} : { 'proxy-url': proxyUrl }),
  };
  const config = {
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: 'secret-token' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const connection = createConnection({ kubeconfig, clock: systemClock, environment });
  context.after(() => {
    connection.close();
    rmSync(folder, { recursive: true });
  });
  return connection;
}

async function get(connection: KubernetesConnection, path = '/version', newConnection = false): Promise<string> {
  const limits = { headersWithinMs: 5_000, silenceLimitMs: 5_000, newConnection };
  const { signal } = new AbortController();
  const response = await connection.request({ method: 'GET', path, ...limits, signal });
  return `${response.status} ${await response.text(1000)}`;
}

test('The API server is asked through HTTPS_PROXY, and one tunnel serves many requests.', async (context) => {
  const [api, proxy] = [await startApi(context), await startProxy(context)];
  const server = `https://${API}:${api.port}`;
  const connection = connectTo(context, { server, environment: { HTTPS_PROXY: `127.0.0.1:${proxy.port}` } });
  for (const path of ['/a', '/b', '/c']) assert.equal(await get(connection, path), `200 ${path}`);
  assert.deepEqual(proxy.requests, [`CONNECT ${API}:${api.port}`]);
  assert.equal(await get(connection, '/d', true), '200 /d');
  assert.equal(proxy.requests.length, 2);
});

test('Of a crowd of requests no more go through the proxy at a time than without one.', async (context) => {
  const [api, proxy] = [await startApi(context), await startProxy(context)];
  const server = `https://${API}:${api.port}`;
  const connection = connectTo(context, { server, environment: { HTTPS_PROXY: `127.0.0.1:${proxy.port}` } });
  await Promise.all(Array.from({ length: 200 }, () => get(connection)));
  assert.ok(proxy.requests.length <= 64, `${proxy.requests.length} tunnels`);
});

const loopbackCases: readonly (readonly [
  what: string,
  host: string,
  environment: (proxy: string) => Record<string, string>,
])[] = [
  ['on loopback', '127.0.0.1', (proxy) => ({ HTTPS_PROXY: proxy, https_proxy: proxy, HTTP_PROXY: proxy })],
  ['that NO_PROXY names by CIDR', '127.0.0.1', (proxy) => ({ https_proxy: proxy, no_proxy: '127.0.0.0/8' })],
];

for (const [what, host, environment] of loopbackCases) {
  test(`An API server ${what} is asked itself.`, async (context) => {
    const [api, proxy] = [await startApi(context), await startProxy(context)];
    const place = { server: `https://${host}:${api.port}`, environment: environment(`http://127.0.0.1:${proxy.port}`) };
    assert.equal(await get(connectTo(context, place)), '200 /version');
    assert.deepEqual(proxy.requests, []);
  });
}

test('proxy-url of the cluster goes before the environment and knows no exceptions, as in client-go.', async (context) => {
  const [api, wanted, other] = [await startApi(context), await startProxy(context), await startProxy(context)];
  const connection = connectTo(context, {
    server: `https://127.0.0.1:${api.port}`,
    proxyUrl: `http://127.0.0.1:${wanted.port}`,
    environment: { HTTPS_PROXY: `http://127.0.0.1:${other.port}`, NO_PROXY: '*' },
  });
  assert.equal(await get(connection), '200 /version');
  assert.deepEqual(wanted.requests, [`CONNECT 127.0.0.1:${api.port}`]);
  assert.deepEqual(other.requests, []);
});

test('A proxy-url of a kind that is not known is refused when the kubeconfig is read.', (context) => {
  const place = { server: `https://${API}`, proxyUrl: 'ftp://127.0.0.1' };
  assert.throws(
    () => connectTo(context, place),
    /the proxy-url of the cluster is no URL of an http, https or socks5 proxy/,
  );
});

test('An https proxy is told its own name, and shown user and password of its URL.', async (context) => {
  const tls = await authority.issue({ commonName: 'proxy', usage: 'server', dnsNames: ['localhost'] });
  const [api, proxy] = [await startApi(context), await startProxy(context, { tls, user: 'kiam:p@ss:word' })];
  const environment = { HTTPS_PROXY: `https://kiam:p%40ss%3Aword@localhost:${proxy.port}` };
  const connection = connectTo(context, { server: `https://${API}:${api.port}`, environment });
  assert.equal(await get(connection), '200 /version');
  assert.deepEqual(proxy.serverNames, ['localhost']);
});

test('An https proxy whose certificate nobody vouches for is refused.', async (context) => {
  const tls = await (await createAuthority()).issue({ commonName: 'proxy', usage: 'server', dnsNames: ['localhost'] });
  const [api, proxy] = [await startApi(context), await startProxy(context, { tls })];
  const environment = { HTTPS_PROXY: `https://localhost:${proxy.port}` };
  const connection = connectTo(context, { server: `https://${API}:${api.port}`, environment });
  await assert.rejects(get(connection), /the proxy localhost:\d+ cannot be used: .*certificate/);
});

for (const status of [404, 407, 503]) {
  test(`A proxy that answers ${status} is an error that names it, and no answer of the API server.`, async (context) => {
    const [api, proxy] = [await startApi(context), await startProxy(context)];
    proxy.refuseWith = status;
    const environment = { HTTPS_PROXY: `http://kiam:secret@127.0.0.1:${proxy.port}` };
    const connection = connectTo(context, { server: `https://${API}:${api.port}`, environment });
    const message = `the proxy 127.0.0.1:${proxy.port} refuses to connect to ${API}:${api.port}: ${status} Refused`;
    await assert.rejects(get(connection), { message });
    proxy.refuseWith = undefined;
    assert.equal(await get(connection), '200 /version');
  });
}

test('A request that a proxy leaves without an answer ends in its own time, and by its signal.', async (context) => {
  const [api, proxy] = [await startApi(context), await startProxy(context)];
  proxy.refuseWith = 'silence';
  const connection = connectTo(context, {
    server: `https://${API}:${api.port}`,
    environment: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` },
  });
  const controller = new AbortController();
  const ask = (headersWithinMs: number): Promise<unknown> => {
    const { signal } = controller;
    return connection.request({ method: 'GET', path: '/', headersWithinMs, silenceLimitMs: 50, signal });
  };
  const startedMs = performance.now();
  await assert.rejects(ask(50), /no answer within 50 ms/);
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(ask(30_000), /aborted/);
  assert.ok(performance.now() - startedMs < 5_000);
});

test('The name of the API server is resolved by a SOCKS 5 proxy.', async (context) => {
  const api = await startApi(context);
  const proxy = await startStandInSocks();
  context.after(() => proxy.close());
  const environment = { HTTPS_PROXY: `socks5://127.0.0.1:${proxy.port}` };
  assert.equal(await get(connectTo(context, { server: `https://${API}:${api.port}`, environment })), '200 /version');
  assert.deepEqual(proxy.requests, [`${API}:${api.port}`]);
});

test('A plain API server is asked for by its whole URL through HTTP_PROXY.', async (context) => {
  const [api, proxy] = [await startApi(context, false), await startProxy(context, { user: 'kiam:secret' })];
  const server = `http://${API}:${api.port}`;
  const environment = { HTTP_PROXY: `http://kiam:secret@127.0.0.1:${proxy.port}` };
  assert.equal(await get(connectTo(context, { server, environment })), '200 /version');
  assert.deepEqual(proxy.requests, [`GET ${server}/version`]);
});

const stsCases = [
  ['https', true, (port: number) => `CONNECT sts.kiam.test:${port}`],
  ['http', false, (port: number) => `POST http://sts.kiam.test:${port}/`],
] as const;

for (const [protocol, secure, request] of stsCases) {
  test(`STS over ${protocol} is asked through the proxy, unless NO_PROXY names it.`, async (context) => {
    const names = { dnsNames: ['sts.kiam.test'], ipAddresses: ['127.0.0.1'] };
    const tls = secure ? await authority.issue({ commonName: 'sts', usage: 'server', ...names }) : undefined;
    const [sts, proxy] = [await startSts({ clock: systemClock, tls }), await startProxy(context)];
    context.after(() => sts.close());
    const { credentials } = sts.user('arn:aws:iam::123456789012:user/kiam');
    const port = Number(new URL(sts.url).port);
    const environment = { [`${protocol}_proxy`]: `http://127.0.0.1:${proxy.port}` };
    const options = { region: 'eu-west-1', caBundle: authority.certificatePem, credentials };
    const ask = async (endpoint: string, more: Record<string, string> = {}): Promise<string | undefined> => {
      const client = createStsClient({ ...options, endpoint, environment: { ...environment, ...more } });
      try {
        return (await client.send(new GetCallerIdentityCommand({}))).Arn;
      } finally {
        client.destroy();
      }
    };
    assert.equal(await ask(`${protocol}://sts.kiam.test:${port}`), 'arn:aws:iam::123456789012:user/kiam');
    assert.deepEqual(proxy.requests, [request(port)]);
    assert.equal(await ask(sts.url), 'arn:aws:iam::123456789012:user/kiam');
    await assert.rejects(ask(`${protocol}://sts.kiam.test:${port}`, { no_proxy: '.kiam.test' }), /sts\.kiam\.test/);
    assert.equal(proxy.requests.length, 1);
  });
}
