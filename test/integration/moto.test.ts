import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, describe, it } from 'node:test';

import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

import { startChild } from '#sandbox/child.ts';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { pythonPackages } from '../support/installed.ts';

const MOTO = ['moto[server]==5.2.5'];

/** Moto's own server, or why it cannot be used. */
async function findMoto(): Promise<Awaited<ReturnType<typeof pythonPackages>> | string> {
  try {
    return await pythonPackages(MOTO);
  } catch (error) {
    return `${MOTO.join()} is not available: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`;
  }
}

const moto = await findMoto();

/** Where moto answers, until the test ends. */
async function startMoto({ world }: Cluster, t: { after(end: () => unknown): void }): Promise<string> {
  assert.ok(typeof moto !== 'string');
  const server = startChild({
    name: 'moto',
    argv: [moto.python, '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0'],
    environment: { ...world.environment.clean, ...moto.environment },
  });
  t.after(() => server.stop('SIGKILL'));
  const line = await server.line(/Running on http:/, 60_000);
  return /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? '';
}

/** Keeps the bodies of the requests that pass, and passes them on. */
async function startRecorder(target: string): Promise<{ url: string; bodies: URLSearchParams[]; close(): void }> {
  const bodies: URLSearchParams[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      bodies.push(new URLSearchParams(body.toString()));
      const { method, headers } = incoming;
      const outgoing = request(`${target}${incoming.url ?? '/'}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      });
      outgoing.on('error', () => response.destroy());
      outgoing.end(body);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { url: `http://127.0.0.1:${address.port}`, bodies, close: () => server.close() };
}

describe("a third party's STS", { skip: typeof moto === 'string' ? moto : false }, () => {
  let cluster: Cluster | undefined;
  after(() => cluster?.close());

  it("a third party's STS serves a pod from end to end, and confirms who it is", async (t) => {
    assert.ok(typeof moto !== 'string');
    cluster = await startCluster();
    const { world } = cluster;
    const endpoint = await startMoto(cluster, t);
    world.namespace('team', '.*');
    const kiam = await cluster.startServer({ environment: { AWS_ENDPOINT_URL_STS: endpoint } });
    const agent = await cluster.startAgent(kiam.port);
    const pod = await world.pod({ namespace: 'team', name: 'reader', role: 'team-a/reader', sessionName: 'mine' });
    const ask = () => askHttp({ port: agent.port, from: pod.address, path: `${LISTING}team-a/reader` });
    await eventually('moto issues credentials', 20_000, async () => (await ask()).status === 200);
    const fields = JSON.parse((await ask()).body) as Record<string, string>;
    const identity = await new STSClient({
      region: 'us-east-1',
      endpoint,
      credentials: {
        accessKeyId: fields['AccessKeyId'] ?? '',
        secretAccessKey: fields['SecretAccessKey'] ?? '',
        sessionToken: fields['Token'] ?? '',
      },
    }).send(new GetCallerIdentityCommand({}));
    assert.match(identity.Arn ?? '', /^arn:aws:sts::123456789012:assumed-role\/(?:team-a\/)?reader\/kiam-mine$/);
    assert.equal(world.sts.calls.count(), 0, 'our own stand-in was not asked');
  });

  it("a third party's STS is given the tags of the pod that is served", async (t) => {
    const tagged = await startCluster();
    t.after(() => tagged.close());
    const { world } = tagged;
    const recorder = await startRecorder(await startMoto(tagged, t));
    t.after(() => recorder.close());
    world.namespace('team', '.*');
    const kiam = await tagged.startServer({
      flags: ['--session-tags=pod', '--cluster-name=prod', '--transitive-session-tags'],
      environment: { AWS_ENDPOINT_URL_STS: recorder.url },
    });
    const agent = await tagged.startAgent(kiam.port);
    for (const name of ['one', 'two']) {
      const pod = await world.pod({ namespace: 'team', name, role: 'reader', serviceAccount: 'app' });
      await eventually('it is served', 20_000, async () => {
        const { status } = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}reader` });
        return status === 200;
      });
      const tags = [
        ['eks-cluster-name', 'prod'],
        ['kubernetes-namespace', 'team'],
        ['kubernetes-service-account', 'app'],
        ['kubernetes-pod-name', name],
        ['kubernetes-pod-uid', pod.uid],
      ];
      const calls = recorder.bodies.filter((body) => [...body.values()].includes(pod.uid));
      assert.equal(calls.length, 1);
      const sent = [...(calls[0] ?? [])].filter(([parameter]) => /^(?:Tags|TransitiveTagKeys)/.test(parameter));
      assert.deepEqual(sent, [
        ...tags.flatMap(([key, value], index) => [
          [`Tags.member.${index + 1}.Key`, key],
          [`Tags.member.${index + 1}.Value`, value],
        ]),
        ...tags.map(([key], index) => [`TransitiveTagKeys.member.${index + 1}`, key]),
      ]);
    }
  });
});
