import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';

import type { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { type Authority, createAuthority } from '#pki/authority.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type SecretFolder, watchFolder } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { createHealthServer } from '../support/health-server.ts';

const never = new AbortController().signal;
const contract = loadContract();
const NEIGHBOUR = '127.0.0.66';
/** How long a client may take for its part of a handshake. */
const HANDSHAKE_MS = 5000;

describe('connections to a server', () => {
  let authority: Authority;
  const folders: SecretFolder[] = [];

  before(async () => {
    authority = await createAuthority();
  });
  after(() => Promise.all(folders.map((folder) => folder.remove())));

  async function certificates(usage: 'client' | 'server'): Promise<CertificateWatcher> {
    const pem = await authority.issue({
      commonName: usage,
      usage,
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
    });
    const folder = await createSecretFolder({ ...pem, caPem: authority.certificatePem });
    folders.push(folder);
    const gauges = createTlsMetrics(createRegistry({ processMetrics: false }), usage);
    return watchFolder(folder, gauges);
  }

  async function serve(t: TestContext, host = '127.0.0.1') {
    const { server, count } = createHealthServer(await certificates('server'));
    t.after(() => server.stop());
    return { server, port: await server.listen({ host, port: 0 }), count };
  }

  /** Asks over a connection of its own, and says how long that took. */
  async function health(t: TestContext, address: string, client: CertificateWatcher): Promise<number> {
    const fromMs = performance.now();
    const agent = new KiamClient({
      contract,
      serverAddress: address,
      certificates: client,
      keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
      counters: createGrpcMetrics(createRegistry({ processMetrics: false }), 'client'),
    });
    t.after(() => agent.close());
    const answer = await agent.call('GetHealth', {}, { timeoutMs: 4000, signal: never });
    assert.ok(answer.ok, answer.ok ? '' : answer.details);
    return performance.now() - fromMs;
  }

  /** Sockets of the neighbour that say `text` and nothing more. */
  async function neighbours(t: TestContext, port: number, count: number, text = ''): Promise<Socket[]> {
    const sockets = Array.from({ length: count }, () =>
      connect({ port, host: '127.0.0.1', localAddress: NEIGHBOUR }, function (this: Socket) {
        this.write(text);
      }),
    );
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    await Promise.all(
      sockets.map((socket) => {
        socket.on('error', () => {});
        socket.resume();
        return new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
      }),
    );
    return sockets;
  }

  it('connections to a server are let in while another address holds thousands that say nothing', async (t) => {
    const { port, count } = await serve(t);
    const client = await certificates('client');
    await neighbours(t, port, 3000);
    for (let agent = 0; agent < 5; agent += 1) {
      const tookMs = await health(t, `127.0.0.1:${port}`, client);
      assert.ok(tookMs < 3000, `${tookMs} ms`);
    }
    assert.ok((await count('refused')) >= 3000 - 1024);
    assert.equal(await count('done'), 5);
  });

  it('connections to a server are let in while another address says what is no handshake, again and again', async (t) => {
    const { port, count } = await serve(t);
    const client = await certificates('client');
    const stop = new AbortController();
    const noise = (async () => {
      while (!stop.signal.aborted) await neighbours(t, port, 50, 'GET / HTTP/1.1\r\n\r\n');
    })();
    const tookMs = await health(t, `127.0.0.1:${port}`, client);
    stop.abort();
    await noise;
    assert.ok(tookMs < 3000, `${tookMs} ms`);
    await eventually('the others have failed', 5000, async () => (await count('failed')) >= 50);
  });

  it('connections to a server come to nothing without a certificate of the authority', async (t) => {
    const { port, count } = await serve(t);
    const socket = connectTls({ port, host: '127.0.0.1', ca: authority.certificatePem, ALPNProtocols: ['h2'] });
    const failure = await new Promise<Error>((resolve) => socket.once('error', resolve));
    assert.match(failure.message, /certificate required|reset/i);
    await eventually('it is counted', 1000, async () => (await count('failed')) === 1);
    assert.equal(await count('done'), 0);
  });

  it('connections to a server are closed when a client stops in the middle of its handshake, after their time', async (t) => {
    const { port } = await serve(t);
    // The first bytes of a ClientHello.
    const [socket] = await neighbours(t, port, 1, '\x16\x03\x01\x02\x00\x01\x00');
    const closedMs = await eventually('it is closed', HANDSHAKE_MS + 3000, () => socket?.closed === true);
    assert.ok(closedMs > HANDSHAKE_MS - 500, `${closedMs} ms`);
  });

  it('connections to a server end when the server drains: those in their handshake at once, the others when their calls have been answered', async (t) => {
    const { server, port } = await serve(t);
    const client = await certificates('client');
    await health(t, `127.0.0.1:${port}`, client);
    const silent = await neighbours(t, port, 20);
    await server.drain();
    await eventually('they are closed', 1000, () => silent.every(({ closed }) => closed));
    const late = connect({ port, host: '127.0.0.1' });
    const failure = await new Promise<NodeJS.ErrnoException>((resolve) => late.once('error', resolve));
    assert.equal(failure.code, 'ECONNREFUSED');
  });

  it('connections to a server are made to an IP address without a warning of Node, and held to that address', async (t) => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', onWarning);
    t.after(() => process.off('warning', onWarning));
    const { port } = await serve(t);
    const client = await certificates('client');
    await health(t, `127.0.0.1:${port}`, client);
    // What is served at 127.0.0.5 is the same certificate, which is not of that address.
    const another = await serve(t, '127.0.0.5');
    await assert.rejects(health(t, `127.0.0.5:${another.port}`, client), /altnames|127\.0\.0\.5/);
    assert.deepEqual(warnings, []);
  });
});
