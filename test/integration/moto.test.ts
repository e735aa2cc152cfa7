import assert from 'node:assert/strict';
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

describe("a third party's STS", { skip: typeof moto === 'string' ? moto : false }, () => {
  let cluster: Cluster | undefined;
  after(() => cluster?.close());

  it("a third party's STS serves a pod from end to end, and confirms who it is", async (t) => {
    assert.ok(typeof moto !== 'string');
    cluster = await startCluster();
    const { world } = cluster;
    const server = startChild({
      name: 'moto',
      argv: [moto.python, '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0'],
      environment: { ...world.environment.clean, ...moto.environment },
    });
    t.after(() => server.stop('SIGKILL'));
    const line = await server.line(/Running on http:/, 60_000);
    const endpoint = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? '';
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
});
