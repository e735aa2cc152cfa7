import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import { shakeHands } from '#doctor/handshake.ts';
import { readCertificates } from '#rpc/certificates.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type Pem, type SecretFolder, watchFolder } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { createHealthServer } from '../support/health-server.ts';
import { ANY, CODE_SIGNING, createPageAuthority, type Issued, SERVER_AUTH } from '../support/kiam-page-certificates.ts';

const NEVER = new AbortController().signal;
const contract = loadContract();
const KEEPALIVE = { timeMs: 10_000, timeoutMs: 2000 };

describe('certificates that cert-manager issued by Kiam’s page, for any usage', () => {
  let authority: Issued;
  let good: Issued;
  const folders: SecretFolder[] = [];

  before(async () => {
    authority = await createPageAuthority();
    good = await authority.issue('kiam-agent');
  });
  after(() => Promise.all(folders.map((folder) => folder.remove())));

  async function watcher(pem: Pem, side: 'client' | 'server', ca = authority) {
    const folder = await createSecretFolder({ ...pem, caPem: ca.certificatePem });
    folders.push(folder);
    return { folder, certificates: await watchFolder(folder, createTlsMetrics(registryOf(), side)) };
  }

  async function serve(t: TestContext, pem?: Issued, ca = authority) {
    const { certificates } = await watcher(pem ?? (await authority.issue('kiam server')), 'server', ca);
    const { server, count } = createHealthServer(certificates);
    t.after(() => server.stop());
    return { port: await server.listen({ host: '127.0.0.1', port: 0 }), count };
  }

  async function health(t: TestContext, address: string, pem: Pem, ca = authority): Promise<string> {
    const client = new KiamClient({
      contract,
      serverAddress: address,
      certificates: (await watcher(pem, 'client', ca)).certificates,
      keepalive: { ...KEEPALIVE, permitWithoutStream: false },
      counters: createGrpcMetrics(registryOf(), 'client'),
    });
    t.after(() => client.close());
    const answer = await client.call('GetHealth', {}, { timeoutMs: 3000, signal: NEVER });
    return answer.ok ? answer.response.message : answer.details;
  }

  it('certificates for any usage are taken by server and agent, by name and by address, and by the doctor', async (t) => {
    const { port, count } = await serve(t);
    assert.equal(await health(t, `localhost:${port}`, good), 'ok');
    assert.equal(await health(t, `127.0.0.1:${port}`, good), 'ok');
    assert.equal(await count('done'), 2);
    const { folder } = await watcher(good, 'client');
    const reading = await readCertificates(folder.files, Date.now());
    assert.ok(reading.outcome === 'good');
    const to = { address: '127.0.0.1', port, snapshot: reading.snapshot, limitMs: 3000 };
    assert.deepEqual(await shakeHands({ ...to, serverName: 'localhost' }), { ok: true });
    assert.equal((await shakeHands({ ...to, serverName: 'elsewhere' })).ok, false);
  });

  it('certificates for any usage, of an authority that names no usage, are taken as well', async (t) => {
    const plain = await createPageAuthority('Kiam CA', { usages: [] });
    const { port } = await serve(t, await plain.issue('kiam server'), plain);
    assert.equal(await health(t, `localhost:${port}`, await plain.issue('kiam-agent'), plain), 'ok');
    assert.equal(await health(t, `127.0.0.1:${port}`, await plain.issue('kiam-agent'), plain), 'ok');
  });

  const strangers: readonly (readonly [string, () => Promise<Issued>])[] = [
    ['of another authority of the same name', async () => (await createPageAuthority()).issue('kiam-agent')],
    ['that it signed itself', () => createPageAuthority('kiam-agent')],
    ['that has expired', () => authority.issue('kiam-agent', { endsInMs: -1000 })],
    ['that is signed weakly', () => authority.issue('kiam-agent', { hash: 'SHA-1' })],
    ['for code', () => authority.issue('kiam-agent', { usages: [CODE_SIGNING] })],
    ['for a server', () => authority.issue('kiam-agent', { usages: [SERVER_AUTH] })],
    ['that was issued by an agent', () => good.issue('kiam-agent')],
    [
      'of an authority between, which it does not show',
      async () => (await authority.issue('Between', { isAuthority: true })).issue('kiam-agent'),
    ],
  ];
  for (const [what, make] of strangers) {
    it(`certificates for any usage open the server to no agent with one ${what}`, async (t) => {
      const { port, count } = await serve(t);
      assert.notEqual(await health(t, `localhost:${port}`, await make()), 'ok');
      await eventually('the handshake has failed', 5000, async () => (await count('failed')) > 0);
      assert.equal(await count('done'), 0);
      assert.equal(await health(t, `localhost:${port}`, good), 'ok');
    });
  }

  it('certificates for any usage open the server to nobody without a certificate, nor with the session of another connection', async (t) => {
    const { port, count } = await serve(t);
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] };
    await connected(options);
    await eventually('the handshake has failed', 5000, async () => (await count('failed')) === 1);
    const session = await connected({ ...options, cert: good.certificatePem, key: good.privateKeyPem });
    assert.ok(session !== undefined, 'the server has offered a session');
    await eventually('the handshake is done', 5000, async () => (await count('done')) === 1);
    await connected({ ...options, session });
    await eventually('the next has failed', 5000, async () => (await count('failed')) === 2);
    assert.equal(await count('done'), 1);
  });

  for (const [rsaBits, maxVersion, outcome] of [
    [1024, 'TLSv1.2', 'failed'],
    [1024, 'TLSv1.3', 'failed'],
    [2048, 'TLSv1.2', 'done'],
    [2048, 'TLSv1.3', 'done'],
  ] as const) {
    it(`certificates for any usage and an RSA key of ${rsaBits} bits have a handshake by ${maxVersion} ${outcome}`, async (t) => {
      const { port, count } = await serve(t);
      const { certificatePem: cert, privateKeyPem: key } = await authority.issue('kiam-agent', { rsaBits });
      const shown = { cert, key, maxVersion, ciphers: 'DEFAULT@SECLEVEL=0' };
      void connected({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], ...shown });
      await eventually(
        'the handshake has ended',
        5000,
        async () => (await count('done')) + (await count('failed')) > 0,
      );
      assert.equal(await count(outcome), 1);
    });
  }

  const impostors: readonly (readonly [string, () => Promise<Issued>])[] = [
    ['of another authority of the same name', async () => (await createPageAuthority()).issue('kiam server')],
    ['that has expired', () => authority.issue('kiam server', { endsInMs: -1000 })],
    ['for code', () => authority.issue('kiam server', { usages: [CODE_SIGNING] })],
    ['that was issued by an agent', () => good.issue('kiam server')],
  ];
  for (const [what, make] of impostors) {
    it(`an agent with certificates for any usage asks no server with one ${what}`, async (t) => {
      const { port, count } = await serve(t, await make());
      assert.notEqual(await health(t, `localhost:${port}`, good), 'ok');
      await eventually('it was connected', 5000, async () => (await count('done')) + (await count('failed')) > 0);
    });
  }

  it('an agent with certificates for any usage asks no server with one for another name', async (t) => {
    const { port } = await serve(t);
    const folder = (await watcher(good, 'client')).certificates;
    const client = new KiamClient({
      contract,
      serverAddress: `127.0.0.2:${port}`,
      certificates: folder,
      keepalive: { ...KEEPALIVE, permitWithoutStream: false },
      counters: createGrpcMetrics(registryOf(), 'client'),
    });
    t.after(() => client.close());
    const answer = await client.call('GetHealth', {}, { timeoutMs: 1000, signal: NEVER });
    assert.equal(answer.ok, false);
  });

  it('an authority that has expired, and a certificate of the CA file that is no authority’s, issue nothing that is taken', async (t) => {
    const old = await createPageAuthority('Kiam CA', { endsInMs: -1000 });
    const { port } = await serve(t, await old.issue('kiam server'), old);
    assert.notEqual(await health(t, `localhost:${port}`, await old.issue('kiam-agent'), old), 'ok');
    const between = await (await createPageAuthority('Root')).issue('Between', { isAuthority: true, endsInMs: -1000 });
    const alone = await serve(t, await between.issue('kiam server'), between);
    assert.notEqual(await health(t, `localhost:${alone.port}`, await between.issue('kiam-agent'), between), 'ok');
    const plain = await createPageAuthority('Nobody', { isAuthority: false, hasKeyUsage: false });
    const both = { ...authority, certificatePem: authority.certificatePem + plain.certificatePem };
    const next = await serve(t, await authority.issue('kiam server'), both);
    assert.notEqual(await health(t, `localhost:${next.port}`, await plain.issue('kiam-agent'), both), 'ok');
    assert.equal(await health(t, `localhost:${next.port}`, good, both), 'ok');
  });

  it('an authority for code alone issues nothing that is taken, whatever else it says', async (t) => {
    const coder = await createPageAuthority('Kiam CA', { usages: [CODE_SIGNING] });
    const pem = await coder.issue('kiam-agent', { usages: [ANY] });
    const { port } = await serve(t, await coder.issue('kiam server'), coder);
    assert.notEqual(await health(t, `localhost:${port}`, pem, coder), 'ok');
  });
});

function registryOf() {
  return createRegistry({ processMetrics: false });
}

/** Connects, and resolves to the session that the server offers; undefined when it closes the connection instead. */
function connected(options: ConnectionOptions): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connectTls(options);
    socket.on('error', () => {});
    socket.on('close', () => resolve(undefined));
    socket.on('session', (session) => {
      resolve(session);
      socket.end();
    });
    socket.resume();
  });
}
