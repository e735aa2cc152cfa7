import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';

import { Client, credentials, Metadata, status } from '@grpc/grpc-js';

import { loadContract } from '#rpc/contract.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';

import { type Cluster, type Daemon, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const NODES = [
  { name: 'node-a', address: '127.0.0.1' },
  { name: 'node-b', address: '127.0.0.2' },
];
const MANY_STREAMS = 3000;
const MANY_TOKENS = 500;
const LIMIT_MS = 60_000;
const { WatchNode, GetPodRole } = loadContract();

interface Streams {
  /** Those that are open and have been told something. */
  readonly told: Set<object>;
  /** The status of each that has ended. */
  readonly ended: number[];
}

const noStreams = (): Streams => ({ told: new Set(), ended: [] });

describe('what whoever has an agent’s certificate can use up of a server', () => {
  let cluster: Cluster;
  let server: Daemon;
  const clients: Client[] = [];

  before(async () => {
    const mayReview = { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] };
    cluster = await startCluster({ nodes: NODES, serverRules: [...SERVER_RULES, mayReview] });
    server = await cluster.startServer({ flags: ['--agent-identity=token', '--level=info'] });
  });
  after(async () => {
    for (const client of clients) client.close();
    await cluster.close();
  });

  /** A connection of its own with the certificate of the agents. */
  function connect(): Client {
    const { ca, agentCertificate, agentKey } = cluster.world.certificates;
    const [root, key, certificate] = [ca, agentKey, agentCertificate].map((path) => readFileSync(path));
    assert.ok(root !== undefined && key !== undefined && certificate !== undefined);
    const client = new Client(`localhost:${server.port}`, credentials.createSsl(root, key, certificate), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': 0,
    });
    clients.push(client);
    return client;
  }

  function withToken(token: string): Metadata {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  }

  /** The token of an agent on a node. */
  async function tokenOn(nodeName: string, name: string): Promise<string> {
    const pod = await cluster.world.pod({ namespace: 'kube-system', name, nodeName, hostNetwork: true });
    return cluster.world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount: 'kiam-agent',
      audiences: ['kiam-server'],
      pod: { name, uid: pod.uid },
    });
  }

  function openStreams(streams: Streams, client: Client, token: string, count: number): void {
    const { told, ended } = streams;
    const { path, requestSerialize, responseDeserialize } = WatchNode;
    for (let index = 0; index < count; index += 1) {
      const stream = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { host_ip: '' },
        withToken(token),
      );
      stream.on('data', () => told.add(stream));
      stream.on('error', (error: Error & { code?: number }) => {
        told.delete(stream);
        ended.push(error.code ?? -1);
      });
    }
  }

  /** Waits until so many streams have given way, and sees that the others stay. */
  async function givenWay({ told, ended }: Streams, count: number, staying: number): Promise<void> {
    await eventually(`${count} streams have given way`, LIMIT_MS, () => ended.length >= count);
    await eventually(`${staying} streams are told something`, LIMIT_MS, () => told.size === staying);
    assert.deepEqual([...new Set(ended)], [status.RESOURCE_EXHAUSTED]);
    assert.equal(ended.length, count);
  }

  it(`${MANY_STREAMS} streams of one agent on one connection: two are open`, async (t) => {
    const streams = noStreams();
    openStreams(streams, connect(), await tokenOn('node-a', 'agent-1'), MANY_STREAMS);
    await givenWay(streams, MANY_STREAMS - 2, 2);
    const residentBytes = Number(/^process_resident_memory_bytes (\S+)$/m.exec(await server.metrics())?.[1]);
    t.diagnostic(`the server then has ${(residentBytes / 2 ** 20).toFixed(0)} MiB`);
  });

  it('streams of several nodes on one connection: two are open', async () => {
    const streams = noStreams();
    const client = connect();
    for (const name of ['node-a', 'node-b']) openStreams(streams, client, await tokenOn(name, `several-${name}`), 5);
    await givenWay(streams, 8, 2);
  });

  it('streams of one node on several connections: two are open, and those of another node are left alone', async () => {
    const streams = noStreams();
    openStreams(streams, connect(), await tokenOn('node-b', 'other'), 2);
    await eventually('the other node has its streams', LIMIT_MS, () => streams.told.size === 2);
    const token = await tokenOn('node-a', 'several');
    for (let count = 0; count < 5; count += 1) openStreams(streams, connect(), token, 1);
    await givenWay(streams, 3, 4);
  });

  it(`${MANY_TOKENS} tokens that nobody issued, in calls and streams: few reach the API server, and an agent is known as ever`, async (t) => {
    const { controls } = cluster.world.api;
    const good = await tokenOn('node-b', 'agent-good');
    controls.clearCounts();
    const client = connect();
    const { path, requestSerialize, responseDeserialize } = GetPodRole;
    const ask = (token: string, deadline: number): Promise<number> =>
      new Promise((resolve) => {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          { ip: '127.1.255.1' },
          withToken(token),
          { deadline: Date.now() + deadline },
          (error) => resolve(error?.code ?? status.OK),
        );
      });
    const startedMs = performance.now();
    const codes = await Promise.all(Array.from({ length: MANY_TOKENS }, (_, index) => ask(`bad-${index}`, 10_000)));
    const seconds = (performance.now() - startedMs) / 1000;
    const reviews = controls.requests('create', 'tokenreviews');
    t.diagnostic(`${MANY_TOKENS} tokens in ${seconds.toFixed(1)} s made ${reviews} reviews`);
    assert.ok(reviews <= 10 + Math.ceil(seconds), `${reviews} reviews`);
    assert.deepEqual(
      new Set(codes),
      new Set([status.PERMISSION_DENIED, status.UNAVAILABLE]),
      'refused, or not told for now',
    );
    await new Promise((resolve) => {
      setTimeout(resolve, 1100);
    });
    assert.equal(await ask(good, 3000), status.NOT_FOUND, 'it is told that there is no such pod');
  });
});
