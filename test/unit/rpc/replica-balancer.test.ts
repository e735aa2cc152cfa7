import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import {
  Client,
  credentials,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
} from '@grpc/grpc-js';

import { ReplicaCalls } from '#rpc/replica-balancer.ts';
import { Replicas } from '#rpc/replicas.ts';
import { systemClock } from '#runtime/clock.ts';

import { eventually } from '../../support/eventually.ts';

const asIs = (bytes: Buffer): Buffer => bytes;
const PING = {
  path: '/test.Replica/Ping',
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
} as const;

/** A server that answers with its port, and keeps the headers of its calls. */
async function startReplica(headers: Record<string, unknown>[], wantedPort = 0) {
  const server = new Server();
  let port = 0;
  server.addService(
    { Ping: PING },
    {
      Ping: ({ metadata }: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        headers.push(metadata.getMap());
        reply(null, Buffer.from(String(port)));
      },
    },
  );
  port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${wantedPort}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { port, stop: () => server.forceShutdown() };
}

const headers: Record<string, unknown>[] = [];
const replicas: Awaited<ReturnType<typeof startReplica>>[] = [];
const calls = new ReplicaCalls(new Replicas(systemClock));
let client: Client;

before(async () => {
  for (let count = 0; count < 3; count += 1) replicas.push(await startReplica(headers));
  const addresses = replicas.map(({ port }) => `127.0.0.1:${port}`).join(',');
  client = new Client(`ipv4:${addresses}`, credentials.createInsecure(), {
    ...calls.options(),
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 100,
  });
  client.getChannel().getConnectivityState(true);
  await eventually('all three are connected', 5000, () => connected() === 3);
});

after(() => {
  client.close();
  for (const { stop } of replicas) stop();
});

function connected(): number {
  const tried = new Set<string>();
  while (calls.replicas.hasOther(tried)) tried.add(calls.replicas.choose(tried) ?? '');
  return tried.size;
}

/** One call of a question; the port of the replica that answered. */
function ping(tried: Set<string>): Promise<number> {
  const metadata = new Metadata();
  const end = calls.begin(metadata, tried);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      PING.path,
      asIs,
      asIs,
      Buffer.from('ping'),
      metadata,
      { deadline: Date.now() + 5000 },
      (error, answer) => {
        end();
        if (error === null && answer !== undefined) resolve(Number(answer.toString()));
        else reject(error ?? new Error('there is no answer'));
      },
    );
  });
}

it('the calls of one question go to one replica after the other, and say nothing of that on the wire', async () => {
  for (let question = 0; question < 5; question += 1) {
    const tried = new Set<string>();
    const answered = [await ping(tried), await ping(tried), await ping(tried)];
    assert.deepEqual(new Set(answered), new Set(replicas.map(({ port }) => port)));
    assert.equal(calls.replicas.hasOther(tried), false);
  }
  assert.equal(headers.length, 15);
  for (const header of headers) assert.deepEqual(Object.keys(header), ['user-agent']);
});

it('calls that come at once are spread over the replicas', async () => {
  const answered = await Promise.all(Array.from({ length: 30 }, () => ping(new Set())));
  for (const { port } of replicas) assert.equal(answered.filter((from) => from === port).length, 10);
});

it('a replica that is lost is asked no more, and again when it is back', async () => {
  const [lost] = replicas;
  assert.ok(lost !== undefined);
  lost.stop();
  await eventually('it is lost', 5000, () => connected() === 2);
  const answered = await Promise.all(Array.from({ length: 20 }, () => ping(new Set())));
  assert.ok(!answered.includes(lost.port));
  replicas[0] = await startReplica(headers, lost.port);
  await eventually('it is back', 5000, async () => (await ping(new Set())) === lost.port);
});
