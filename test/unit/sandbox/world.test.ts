import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { textAt } from '#sandbox/json.ts';
import { startWorld, type World } from '#sandbox/world.ts';
import { apiClient } from '../../support/api-client.ts';

const run = promisify(execFile);

let folder: string;
let world: World;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiam-world-'));
  world = await startWorld({ folder, path: process.env['PATH'] ?? '' });
});
after(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

test('it writes certificates and kubeconfigs under the names of the secrets of Kiam', async () => {
  const names = [
    'admin.kubeconfig',
    'agent-key.pem',
    'agent.pem',
    'ca.pem',
    'home',
    'server-key.pem',
    'server.kubeconfig',
    'server.pem',
  ];
  assert.deepEqual((await readdir(folder)).sort(), names);
  for (const key of [world.certificates.serverKey, world.certificates.agentKey, world.kubeconfigs.server]) {
    assert.equal((await stat(key)).mode & 0o077, 0, `${key} is readable for others`);
  }
  assert.equal(await readFile(world.certificates.ca, 'utf8'), world.authority.certificatePem);
});

test('pods and namespaces are a line each', async () => {
  world.namespace('apps', 'arn:.*');
  world.namespace('apps', '.*');
  assert.equal(textAt(world.api.namespace('apps'), 'metadata', 'annotations', 'iam.amazonaws.com/permitted'), '.*');
  world.namespace('apps');
  assert.equal(textAt(world.api.namespace('apps'), 'metadata', 'annotations', 'iam.amazonaws.com/permitted'), '');
  const pod = await world.pod({ namespace: 'apps', name: 'one', role: 'reader', sessionName: 's', externalId: 'e' });
  assert.match(pod.address, /^127\.1\./);
  const annotations = world.api.pod('apps', 'one')?.['metadata'];
  assert.deepEqual(
    ['role', 'session-name', 'external-id'].map((name) =>
      textAt(annotations, 'annotations', `iam.amazonaws.com/${name}`),
    ),
    ['reader', 's', 'e'],
  );
});

test('waiting for a pod ends with its signal', async () => {
  world.namespace('apps');
  world.api.kubelet.configure({ startDelayMs: 60_000 });
  await assert.rejects(world.pod({ namespace: 'apps', name: 'late', signal: AbortSignal.abort() }), /apps\/late/);
  world.api.kubelet.configure({ startDelayMs: 0 });
});

test('the kubeconfig of the server may read and write events, and no more', async () => {
  const client = apiClient(await readFile(world.kubeconfigs.server, 'utf8'));
  const statuses = [];
  for (const path of ['/api/v1/pods', '/api/v1/namespaces', '/api/v1/events', '/api/v1/nodes']) {
    statuses.push((await client.call('GET', path)).status);
  }
  client.close();
  assert.deepEqual(statuses, [200, 200, 403, 403]);
});

test('with the environments a process finds its keys and STS by the ordinary means of the SDK', async () => {
  const script = `
    import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
    const { Arn } = await new STSClient({}).send(new GetCallerIdentityCommand({}));
    process.stdout.write(Arn);`;
  const whoAmI = async (environment: Readonly<Record<string, string>>): Promise<string> => {
    const arguments_ = ['--input-type=module', '--eval', script];
    return (await run(process.execPath, arguments_, { env: environment, timeout: 20_000 })).stdout;
  };
  const { clean, sts, metadata, server } = world.environment;
  assert.equal(await whoAmI(server), 'arn:aws:iam::123456789012:user/kiam');
  assert.equal(
    await whoAmI({ ...clean, ...sts, ...metadata }),
    `arn:aws:sts::123456789012:assumed-role/node/${world.metadata.instance.facts.instanceId}`,
  );
});
