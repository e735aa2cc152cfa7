import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { status } from '@grpc/grpc-js';

import { failed, succeeded } from '#domain/failure.ts';
import { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createHandshakeMetrics } from '#rpc/metrics.ts';
import { KiamServer, type ServiceHandlers } from '#rpc/server.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Authority, createAuthority } from '#pki/authority.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type SecretFolder } from '../support/certificates.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const contract = loadContract();
const never = new AbortController().signal;

/** One side of the connection: its certificate folder, the watcher over it, and what it logged. */
async function side(
  authority: Authority,
  request: Parameters<Authority['issue']>[0],
  kind: 'client' | 'server',
  caPem = authority.certificatePem,
) {
  const issue = async () => ({ ...(await authority.issue(request)), caPem });
  const folder = await createSecretFolder(await issue());
  const registry = createRegistry({ processMetrics: false });
  const { logger, lines } = recordingLogger();
  const watcher = new CertificateWatcher({
    files: folder.files,
    clock: systemClock,
    logger,
    gauges: createTlsMetrics(registry, kind),
  });
  await watcher.refresh();
  return { folder, watcher, registry, lines, renew: async () => folder.put(await issue()) };
}

describe('the contract over mutual TLS', () => {
  let authority: Authority;
  let serverSide: Awaited<ReturnType<typeof side>>;
  let server: KiamServer;
  let address: string;
  const folders: SecretFolder[] = [];
  const clients: KiamClient[] = [];
  const peers: string[] = [];
  const fingerprints = new Set<string>();

  const handlers: ServiceHandlers = {
    GetPodRole: ({ ip }, { peer, certificate }) => {
      peers.push(peer);
      fingerprints.add(certificate());
      return Promise.resolve(
        ip === '192.0.2.1'
          ? succeeded({ name: 'läser', uid: 'uid-1', role_arn: '', view_age_ms: 0 })
          : failed('pod-not-found', 'pod not found'),
      );
    },
    GetPodCredentials: ({ role }) =>
      role === 'defect'
        ? Promise.reject(new Error('SECRET1 in a defect'))
        : Promise.resolve(failed('forbidden', 'forbidden by policy')),
    GetHealth: () => Promise.resolve(succeeded({ message: 'ok' })),
    ReportNode: () => Promise.resolve(succeeded({})),
  };

  async function connect(from: Authority) {
    // Who comes from another authority still trusts the server's, so that only the server can refuse it.
    const trusted = from === authority ? authority.certificatePem : from.certificatePem + authority.certificatePem;
    const clientSide = await side(from, { commonName: 'kiam-agent', usage: 'client' }, 'client', trusted);
    folders.push(clientSide.folder);
    const client = new KiamClient({
      contract,
      serverAddress: address,
      certificates: clientSide.watcher,
      keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
      counters: createGrpcMetrics(clientSide.registry, 'client'),
    });
    clients.push(client);
    return { client, ...clientSide };
  }

  before(async () => {
    authority = await createAuthority();
    serverSide = await side(
      authority,
      { commonName: 'kiam-server', dnsNames: ['localhost'], usage: 'server' },
      'server',
    );
    folders.push(serverSide.folder);
    server = new KiamServer({
      contract,
      handlers,
      watchNode: () => Promise.resolve('unproven'),
      certificates: serverSide.watcher,
      clock: systemClock,
      counters: createGrpcMetrics(serverSide.registry, 'server'),
      handshakes: createHandshakeMetrics(serverSide.registry),
      onHandshake: () => {},
      logger: recordingLogger().logger,
      keepalive: { timeMs: 10_000, timeoutMs: 2000 },
      maxConnectionIdleMs: 900_000,
      maxConnectionAgeMs: 900_000,
      maxConnectionAgeGraceMs: 900_000,
    });
    address = `localhost:${await server.listen({ host: '127.0.0.1', port: 0 })}`;
  });

  after(async () => {
    for (const client of clients) client.close();
    server.stop();
    for (const folder of folders) await folder.remove();
  });

  it('the contract over mutual TLS carries answers and refusals, and counts them as go-grpc-prometheus does', async () => {
    const { client, registry } = await connect(authority);
    const found = await client.call('GetPodRole', { ip: '192.0.2.1' }, { timeoutMs: 5000, signal: never });
    assert.deepEqual(found, { ok: true, response: { name: 'läser', uid: 'uid-1', role_arn: '', view_age_ms: 0 } });
    const refused = await client.call(
      'GetPodCredentials',
      { ip: '192.0.2.1', role: 'x' },
      { timeoutMs: 5000, signal: never },
    );
    assert.ok(!refused.ok);
    assert.deepEqual([refused.code, refused.details], [status.PERMISSION_DENIED, 'forbidden by policy']);
    assert.match(
      await registry.metrics(),
      /grpc_client_handled_total\{grpc_type="unary",grpc_service="kiam.KiamService",grpc_method="GetPodCredentials",grpc_code="PermissionDenied"\} 1/,
    );
    assert.match(
      await serverSide.registry.metrics(),
      /grpc_server_handled_total\{grpc_type="unary",grpc_service="kiam.KiamService",grpc_method="GetPodRole",grpc_code="OK"\} 1/,
    );
  });

  it('the contract over mutual TLS tells handlers with which certificate their caller came', async () => {
    fingerprints.clear();
    for (let count = 0; count < 2; count += 1) {
      const { client, watcher } = await connect(authority);
      await client.call('GetPodRole', { ip: '192.0.2.1' }, { timeoutMs: 5000, signal: never });
      const { fingerprint256 } = new X509Certificate(watcher.current?.certificatePem ?? '');
      assert.equal([...fingerprints].at(-1), fingerprint256);
    }
    assert.equal(fingerprints.size, 2);
  });

  it('the contract over mutual TLS tells a caller nothing of a defect', async () => {
    const { client } = await connect(authority);
    const answer = await client.call(
      'GetPodCredentials',
      { ip: '', role: 'defect' },
      { timeoutMs: 5000, signal: never },
    );
    assert.ok(!answer.ok);
    assert.deepEqual([answer.code, answer.details], [status.INTERNAL, 'internal error']);
  });

  it('the contract over mutual TLS answers a call after the end as it answers any that cannot be made', async () => {
    const { client } = await connect(authority);
    client.close();
    const answer = await client.call('GetHealth', {}, { timeoutMs: 1000, signal: never });
    assert.ok(!answer.ok && answer.code === status.UNAVAILABLE);
    const end = await client.watchNode({ host_ip: '' }, { onUpdate: () => {}, signal: never });
    assert.equal(end.code, status.UNAVAILABLE);
  });

  it('the contract over mutual TLS refuses a client of another authority', async () => {
    const { client } = await connect(await createAuthority());
    const answer = await client.call('GetHealth', {}, { timeoutMs: 1500, signal: never });
    assert.ok(!answer.ok);
    assert.ok([status.UNAVAILABLE, status.DEADLINE_EXCEEDED].includes(answer.code), `code ${answer.code}`);
  });

  it('the contract over mutual TLS refuses a server whose certificate is for another name', async () => {
    const { watcher } = await connect(authority);
    const client = new KiamClient({
      contract,
      serverAddress: address.replace('localhost', '127.0.0.1'),
      certificates: watcher,
      keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
      counters: createGrpcMetrics(createRegistry({ processMetrics: false }), 'client'),
    });
    clients.push(client);
    const answer = await client.call('GetHealth', {}, { timeoutMs: 1000, signal: never });
    assert.ok(!answer.ok, 'the certificate names localhost alone');
  });

  it('the contract over mutual TLS uses a renewed client certificate for the calls that follow, and loses none', async () => {
    const { client, renew, watcher } = await connect(authority);
    const stop = new AbortController();
    const failures: unknown[] = [];
    let calls = 0;
    const load = (async () => {
      while (!stop.signal.aborted) {
        const answer = await client.call('GetPodRole', { ip: '192.0.2.1' }, { timeoutMs: 5000, signal: never });
        calls += 1;
        if (!answer.ok) failures.push(answer.details);
      }
    })();
    const waitFor = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await new Promise((resolve) => setImmediate(resolve));
    };
    for (let round = 0; round < 5; round += 1) {
      const portBefore = peers.at(-1);
      const serialBefore = watcher.current?.serialNumber;
      await renew();
      await watcher.refresh();
      assert.notEqual(watcher.current?.serialNumber, serialBefore);
      await waitFor(() => peers.at(-1) !== portBefore);
    }
    stop.abort();
    await load;
    assert.deepEqual(failures, []);
    assert.ok(calls > 10);
  });

  it('the contract over mutual TLS shows new connections the renewed server certificate, without a restart', async () => {
    await serverSide.renew();
    await serverSide.watcher.refresh();
    await new Promise((resolve) => setImmediate(resolve));
    const { connect: connectTls } = await import('node:tls');
    const { client, folder } = await connect(authority);
    const { readFile } = await import('node:fs/promises');
    const socket = connectTls({
      port: Number(address.split(':')[1]),
      host: '127.0.0.1',
      servername: 'localhost',
      ca: authority.certificatePem,
      cert: await readFile(folder.files.certPath),
      key: await readFile(folder.files.keyPath),
      ALPNProtocols: ['h2'],
    });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    assert.equal(socket.getPeerCertificate().serialNumber, serverSide.watcher.current?.serialNumber);
    socket.destroy();
    assert.ok((await client.call('GetHealth', {}, { timeoutMs: 5000, signal: never })).ok);
  });
});
