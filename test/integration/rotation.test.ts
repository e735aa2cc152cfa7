import assert from 'node:assert/strict';
import { connect as connectTls } from 'node:tls';
import { describe, it, type TestContext } from 'node:test';

import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  type ServerWritableStream,
} from '@grpc/grpc-js';

import type { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { type Authority, createAuthority } from '#pki/authority.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, watchFolder } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { createHealthServer } from '../support/health-server.ts';

const contract = loadContract();
const never = new AbortController().signal;
const ROTATIONS = 50;

/** A folder as Kubernetes mounts it, the watcher over it, and a way to put a new pair into it. */
async function side(t: TestContext, authority: Authority, usage: 'client' | 'server') {
  const issue = async (issuer: Authority, caPem: string) => ({
    ...(await issuer.issue({ commonName: `kiam-${usage}`, dnsNames: ['localhost'], usage })),
    caPem,
  });
  const folder = await createSecretFolder(await issue(authority, authority.certificatePem));
  t.after(() => folder.remove());
  const registry = createRegistry({ processMetrics: false });
  const gauges = createTlsMetrics(registry, usage);
  const watcher = await watchFolder(folder, gauges);
  return {
    watcher,
    registry,
    /** Issues the next pair, by another authority and with other trust if told so, and gives its serial number. */
    rotate: async (issuer = authority, caPem = issuer.certificatePem): Promise<string> => {
      await folder.put(await issue(issuer, caPem));
      await watcher.refresh();
      return watcher.current?.serialNumber ?? '';
    },
  };
}

function clientOf(t: TestContext, port: number, { watcher, registry }: Awaited<ReturnType<typeof side>>): KiamClient {
  const client = new KiamClient({
    contract,
    serverAddress: `localhost:${port}`,
    certificates: watcher,
    keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
    counters: createGrpcMetrics(registry, 'client'),
  });
  t.after(() => client.close());
  return client;
}

/** Calls all the time, from eight callers, until told to stop; what failed is returned. */
function load(client: KiamClient): {
  /** Waits for so many further calls. */
  fresh(calls: number): Promise<unknown>;
  stop(): Promise<{ calls: number; failures: string[] }>;
} {
  const stop = new AbortController();
  const failures: string[] = [];
  let calls = 0;
  const callers = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const answer = await client.call('GetHealth', {}, { timeoutMs: 5000, signal: never });
      calls += 1;
      if (!answer.ok) failures.push(answer.details);
    }
  });
  return {
    fresh: (count) => {
      const wanted = calls + count;
      return eventually('calls go on', 5000, () => calls >= wanted);
    },
    stop: async () => {
      stop.abort();
      await Promise.all(callers);
      return { calls, failures };
    },
  };
}

describe('certificates that change under load', () => {
  it(`certificates that change under load of an agent: ${ROTATIONS} times without a failed call, each seen by the server within 5 s, streams included`, async (t) => {
    const authority = await createAuthority();
    const serverPair = await authority.issue({ commonName: 'kiam-server', dnsNames: ['localhost'], usage: 'server' });
    const serials = { calls: '', stream: '' };
    // A server of the library alone: it says which certificate its caller has shown.
    const server = new Server();
    server.addService(contract, {
      GetHealth: (call: ServerUnaryCall<object, object>, reply: sendUnaryData<object>) => {
        serials.calls = call.getAuthContext().sslPeerCertificate?.serialNumber ?? '';
        reply(null, { message: 'ok' });
      },
      WatchNode: (call: ServerWritableStream<object, object>) => {
        serials.stream = call.getAuthContext().sslPeerCertificate?.serialNumber ?? '';
        call.write({ synced: { max_view_age_ms: 30_000 } });
      },
    });
    const credentials = ServerCredentials.createSsl(
      Buffer.from(authority.certificatePem),
      [{ cert_chain: Buffer.from(serverPair.certificatePem), private_key: Buffer.from(serverPair.privateKeyPem) }],
      true,
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
    t.after(() => server.forceShutdown());
    const agent = await side(t, authority, 'client');
    const client = clientOf(t, port, agent);
    const done = new AbortController();
    const following = (async () => {
      while (!done.signal.aborted) {
        await client.watchNode({ host_ip: '' }, { onUpdate: () => {}, signal: done.signal });
      }
    })();
    const running = load(client);
    const waits: number[] = [];
    for (let round = 0; round < ROTATIONS; round += 1) {
      const serial = await agent.rotate();
      waits.push(
        await eventually(`serial ${serial} is seen`, 5000, () => serials.calls === serial && serials.stream === serial),
      );
    }
    const { calls, failures } = await running.stop();
    done.abort();
    await following;
    t.diagnostic(
      `${ROTATIONS} rotations, ${calls} calls, ${failures.length} failed; seen after ${Math.round(Math.max(...waits))} ms at most`,
    );
    assert.deepEqual(failures, []);
  });

  it(`certificates that change under load of a server: ${ROTATIONS} times without a failed call, each shown to the next connection`, async (t) => {
    const authority = await createAuthority();
    const own = await side(t, authority, 'server');
    const server = createHealthServer(own.watcher).server;
    const port = await server.listen({ host: '127.0.0.1', port: 0 });
    t.after(() => server.stop());
    const agent = await side(t, authority, 'client');
    const running = load(clientOf(t, port, agent));
    for (let round = 0; round < ROTATIONS; round += 1) {
      const serial = await own.rotate();
      await eventually(
        'the next connection is shown the new one',
        5000,
        async () => (await shownSerial(port, agent.watcher)) === serial,
      );
      // The agent's own change makes it connect again, under the server's new certificate.
      if (round % 10 === 0) await agent.rotate();
    }
    const { calls, failures } = await running.stop();
    t.diagnostic(`${ROTATIONS} rotations, ${calls} calls, ${failures.length} failed`);
    assert.deepEqual(failures, []);
  });

  it('certificates that change under load of an authority: the old one, both, the new one, without a failed call', async (t) => {
    const [old, next] = [await createAuthority(), await createAuthority()];
    const both = old.certificatePem + next.certificatePem;
    const [own, agent] = [await side(t, old, 'server'), await side(t, old, 'client')];
    const server = createHealthServer(own.watcher).server;
    const port = await server.listen({ host: '127.0.0.1', port: 0 });
    t.after(() => server.stop());
    const client = clientOf(t, port, agent);
    const running = load(client);
    // Both trust both before either shows a certificate of the new one; nobody is left of the old one when it goes.
    const steps = [
      () => own.rotate(old, both),
      () => agent.rotate(old, both),
      () => own.rotate(next, both),
      () => agent.rotate(next, both),
      () => own.rotate(next, next.certificatePem),
      () => agent.rotate(next, next.certificatePem),
    ];
    for (const step of steps) {
      await step();
      const serial = own.watcher.current?.serialNumber;
      await eventually(
        'an agent can connect',
        5000,
        async () => (await shownSerial(port, agent.watcher).catch(() => '')) === serial,
      );
      await running.fresh(20);
    }
    const { calls, failures } = await running.stop();
    t.diagnostic(`${steps.length} steps, ${calls} calls, ${failures.length} failed`);
    assert.deepEqual(failures, []);

    // A connection that was made under the old authority lives on; another server's takes the new one alone.
    server.stop();
    const another = createHealthServer(own.watcher).server;
    await another.listen({ host: '127.0.0.1', port });
    t.after(() => another.stop());
    await eventually(
      'the agent connects anew',
      5000,
      async () => (await client.call('GetHealth', {}, { timeoutMs: 1000, signal: never })).ok,
    );
    const left = await side(t, old, 'client');
    await assert.rejects(shownSerial(port, left.watcher), /self-signed|unable to (?:get|verify)|certificate/i);
  });
});

function shownSerial(port: number, { current }: CertificateWatcher): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: current?.caPem,
      cert: current?.certificatePem,
      key: current?.privateKeyPem,
      ALPNProtocols: ['h2'],
    });
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
