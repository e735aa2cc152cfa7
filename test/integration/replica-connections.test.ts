import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';

import { status } from '@grpc/grpc-js';

import { succeeded } from '#domain/failure.ts';
import { type Authority, createAuthority } from '#pki/authority.ts';
import type { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { createHandshakeMetrics } from '#rpc/metrics.ts';
import { KiamServer } from '#rpc/server.ts';
import { systemClock } from '#runtime/clock.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type SecretFolder, watchFolder } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const NAME = 'kiam-server.test';
const ADDRESSES = ['127.0.0.11', '127.0.0.12', '127.0.0.13'];
const NEVER = new AbortController().signal;
const contract = loadContract();

describe('a client of several replicas behind one name', () => {
  const folders: SecretFolder[] = [];
  let authority: Authority;
  let serverCertificates: CertificateWatcher;
  let clientCertificates: CertificateWatcher;
  let port: number;
  const servers = new Map<string, KiamServer>();
  /** Ends the call that asks for `slow`; undefined before there is one. */
  let answerSlow: (() => void) | undefined;

  before(async () => {
    authority = await createAuthority();
    [serverCertificates, clientCertificates] = await Promise.all([certificates('server'), certificates('client')]);
    port = await freePort();
    await Promise.all(ADDRESSES.map(startServer));
  });

  after(async () => {
    for (const server of servers.values()) server.stop();
    await Promise.all(folders.map((folder) => folder.remove()));
  });

  async function certificates(usage: 'client' | 'server'): Promise<CertificateWatcher> {
    const pem = await authority.issue({ commonName: usage, usage, dnsNames: [NAME] });
    const folder = await createSecretFolder({ ...pem, caPem: authority.certificatePem });
    folders.push(folder);
    return watchFolder(folder, createTlsMetrics(createRegistry({ processMetrics: false }), usage));
  }

  /** A server that answers a question for a role with its own address. */
  async function startServer(address: string): Promise<void> {
    const role = succeeded({ name: address, uid: '', role_arn: '', view_age_ms: 0 });
    const server = new KiamServer({
      contract,
      handlers: {
        GetPodRole: ({ ip }) =>
          ip === 'slow'
            ? new Promise((resolve) => {
                answerSlow = () => resolve(role);
              })
            : Promise.resolve(role),
        GetPodCredentials: () => Promise.reject(new Error('not asked here')),
        GetHealth: () => Promise.resolve(succeeded({ message: 'ok' })),
        ReportNode: () => Promise.resolve(succeeded({})),
      },
      watchNode: () => Promise.resolve('unproven'),
      certificates: serverCertificates,
      clock: systemClock,
      counters: createGrpcMetrics(createRegistry({ processMetrics: false }), 'server'),
      handshakes: createHandshakeMetrics(createRegistry({ processMetrics: false })),
      onHandshake: () => {},
      logger: recordingLogger().logger,
      keepalive: { timeMs: 10_000, timeoutMs: 2000 },
      maxConnectionIdleMs: 900_000,
      maxConnectionAgeMs: 900_000,
      maxConnectionAgeGraceMs: 900_000,
    });
    await server.listen({ host: address, port });
    servers.set(address, server);
  }

  /** A client whose name has the addresses that `names` holds at the time, and whose own timers a test moves. */
  function clientOf(t: TestContext, names: { addresses: readonly string[] | Error }, at = port, timeMs = 10_000) {
    const clock = new ManualClock();
    const client = new KiamClient({
      contract,
      serverAddress: `${NAME}:${at}`,
      certificates: clientCertificates,
      keepalive: { timeMs, timeoutMs: timeMs, permitWithoutStream: false },
      counters: createGrpcMetrics(createRegistry({ processMetrics: false }), 'client'),
      clock,
      resolve: () =>
        names.addresses instanceof Error ? Promise.reject(names.addresses) : Promise.resolve(names.addresses),
    });
    t.after(() => client.close());
    const call = (ip = '', tried = new Set<string>()) =>
      client.call('GetPodRole', { ip }, { timeoutMs: 5000, signal: NEVER, tried });
    /** The address of the replica that answered. */
    const ask = async (tried = new Set<string>()): Promise<string> => {
      const answer = await call('', tried);
      return answer.ok ? answer.response.name : answer.details;
    };
    /** How many of so many calls each replica answers. */
    const share = async (calls: number): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {};
      for (let count = 0; count < calls; count += 1) {
        const from = await ask();
        counts[from] = (counts[from] ?? 0) + 1;
      }
      return counts;
    };
    const connected = (): number => ADDRESSES.filter((address) => client.hasOther(except(address))).length;
    const allConnected = (count: number) => eventually(`${count} are connected`, 5000, () => connected() === count);
    return { client, clock, call, ask, share, allConnected };
  }

  it('a client of several replicas behind one name takes the calls of one question to one replica after the other', async (t) => {
    const { client, ask, allConnected } = clientOf(t, { addresses: ADDRESSES });
    await allConnected(3);
    for (let question = 0; question < 5; question += 1) {
      const tried = new Set<string>();
      const answered = [await ask(tried), await ask(tried), await ask(tried)];
      assert.deepEqual(answered.toSorted(), ADDRESSES);
      assert.equal(client.hasOther(tried), false);
    }
  });

  it('a client of several replicas behind one name spreads calls that come at once over the replicas', async (t) => {
    const { ask, allConnected } = clientOf(t, { addresses: ADDRESSES });
    await allConnected(3);
    const answered = await Promise.all(Array.from({ length: 30 }, () => ask()));
    for (const address of ADDRESSES) assert.equal(answered.filter((from) => from === address).length, 10, address);
  });

  it('a client of several replicas behind one name sends no call to a replica that is lost, and calls again when it is back at its address', async (t) => {
    const { ask, allConnected } = clientOf(t, { addresses: ADDRESSES });
    await allConnected(3);
    const [lost = ''] = ADDRESSES;
    servers.get(lost)?.stop();
    await allConnected(2);
    const answered = await Promise.all(Array.from({ length: 20 }, () => ask()));
    assert.deepEqual(new Set(answered), new Set(ADDRESSES.slice(1)));
    await startServer(lost);
    await allConnected(3);
    await eventually('it answers', 5000, async () => (await ask()) === lost);
  });

  it('a client of several replicas behind one name finds a new replica by resolving the name every 30 seconds', async (t) => {
    const names = { addresses: ADDRESSES.slice(0, 2) };
    const { clock, share, allConnected } = clientOf(t, names);
    await allConnected(2);
    await clock.advance(5000);
    names.addresses = ADDRESSES;
    await clock.advance(30_000);
    await allConnected(3);
    assert.deepEqual(await share(30), Object.fromEntries(ADDRESSES.map((address) => [address, 10])));
  });

  it('a client of several replicas behind one name resolves the name again within 2 seconds of a loss', async (t) => {
    const [lost = '', successor = ''] = ADDRESSES;
    const names = { addresses: [lost] };
    const { clock, ask, allConnected } = clientOf(t, names);
    await allConnected(1);
    await clock.advance(5000);
    names.addresses = [successor];
    servers.get(lost)?.stop();
    await eventually('the loss has shown', 5000, async () => {
      await clock.advance(0);
      return (await ask()) !== lost;
    });
    await clock.advance(2000);
    await eventually('its successor answers', 5000, async () => (await ask()) === successor);
    await startServer(lost);
  });

  it('a client of several replicas behind one name gives a replica its share of calls, and no more, after its address was out of DNS during a call', async (t) => {
    const [leaving = '', ...others] = ADDRESSES;
    const names = { addresses: [leaving] };
    const { clock, call, share, allConnected } = clientOf(t, names);
    await allConnected(1);
    const slow = call('slow');
    await eventually('the slow call has arrived', 5000, () => answerSlow !== undefined);
    names.addresses = others;
    await clock.advance(31_000);
    await allConnected(2);
    names.addresses = ADDRESSES;
    await clock.advance(31_000);
    await allConnected(3);
    answerSlow?.();
    assert.ok((await slow).ok, 'the call is answered though its address was gone');
    assert.deepEqual(await share(30), Object.fromEntries(ADDRESSES.map((address) => [address, 10])));
  });

  it('a client of several replicas behind one name keeps the replicas that it knows while the name does not resolve', async (t) => {
    const names: { addresses: readonly string[] | Error } = { addresses: ADDRESSES };
    const { clock, share, allConnected } = clientOf(t, names);
    await allConnected(3);
    names.addresses = new Error('queryA ESERVFAIL');
    await clock.advance(120_000);
    assert.deepEqual(await share(30), Object.fromEntries(ADDRESSES.map((address) => [address, 10])));
  });

  it('a client of several replicas behind one name says why there is no replica: the name, the connection, or that connecting takes too long', async (t) => {
    const unresolved = clientOf(t, { addresses: Object.assign(new Error('no'), { code: 'ENOTFOUND' }) });
    assert.deepEqual(await unresolved.ask(), `${NAME} cannot be resolved: ENOTFOUND`);

    const refused = clientOf(t, { addresses: ['127.0.0.14'] });
    assert.match(await refused.ask(), /ECONNREFUSED 127\.0\.0\.14/);
  });

  it('a client of several replicas behind one name waits 5 seconds for a replica that accepts connections and says nothing, then fails calls at once', async (t) => {
    const silent = await listenSilently(t);
    const { clock, call } = clientOf(t, { addresses: ['127.0.0.1'] }, silent.port);
    const waiting = call();
    await eventually('a connection is made', 5000, () => silent.sockets.length === 1);
    await clock.advance(4900);
    assert.equal(await Promise.race([waiting, Promise.resolve('it waits')]), 'it waits');
    await clock.advance(100);
    for (const answer of [await waiting, await call(), await call()]) {
      assert.ok(!answer.ok);
      assert.deepEqual([answer.code, answer.details], [status.UNAVAILABLE, 'connecting takes too long']);
    }
    // The attempt is given up for another, which the same server may answer.
    await clock.advance(25_000);
    await eventually('another connection is made', 5000, () => silent.sockets.length === 2);
  });

  it('a client of several replicas behind one name closes a connection that answers no keepalive, and then fails calls at once', async (t) => {
    const relay = await relayTo(t, ADDRESSES[0] ?? '', port);
    const { clock, client, ask } = clientOf(t, { addresses: ['127.0.0.1'] }, relay.port, 200);
    assert.equal(await ask(), ADDRESSES[0]);
    relay.hang();
    const call = () => client.call('GetHealth', {}, { timeoutMs: 100, signal: NEVER });
    // grpc-js sends keepalives with calls only. The last of these waits for the next connection.
    await eventually('its connection is closed', 5000, () => {
      void call();
      return relay.closed() === 1;
    });
    await clock.advance(5000);
    // The time of this clock stands still: what is answered was not waited for.
    const answer = await call();
    assert.ok(!answer.ok && answer.code === status.UNAVAILABLE);
    assert.equal(answer.details, 'connecting takes too long');
    relay.resume();
    await eventually('it answers again', 5000, async () => {
      await clock.advance(1000);
      return (await call()).ok;
    });
  });
});

function except(address: string): ReadonlySet<string> {
  return new Set(ADDRESSES.filter((other) => other !== address));
}

async function freePort(): Promise<number> {
  const probe = createServer();
  const port = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address() as AddressInfo;
      resolve(address.port);
    });
  });
}

/** Accepts connections, as the kernel does for a process that hangs, and never says a word. */
async function listenSilently(t: TestContext) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}).resume());
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: await listen(server), sockets };
}

/** Passes bytes on both ways until it is told to hang: then connections stay open, and nothing comes through. */
async function relayTo(t: TestContext, host: string, port: number) {
  const pairs: (readonly [Socket, Socket])[] = [];
  let isHung = false;
  let closed = 0;
  const server = createServer((from) => {
    const to = connect({ host, port });
    pairs.push([from, to]);
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.on('data', (bytes) => {
        if (!isHung) other.write(bytes);
      });
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
    from.on('close', () => {
      closed += 1;
    });
  });
  t.after(() => {
    for (const [from, to] of pairs) {
      from.destroy();
      to.destroy();
    }
    server.close();
  });
  return {
    port: await listen(server),
    closed: () => closed,
    hang: () => {
      isHung = true;
    },
    /** Connections that were made meanwhile are of no more use. */
    resume: () => {
      isHung = false;
      for (const [from] of pairs) from.destroy();
    },
  };
}
