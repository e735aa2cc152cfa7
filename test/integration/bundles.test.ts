import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';

const BUILD = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url));

describe('the bundles', () => {
  let folder: string;
  let cluster: Cluster | undefined;

  before(async () => {
    // Outside the project, so that nothing is found in its node_modules.
    folder = await mkdtemp(join(tmpdir(), 'kiam-bundles-'));
    await promisify(execFile)(process.execPath, [BUILD, folder]);
  });

  after(async () => {
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const inputs = async (name: string): Promise<string[]> =>
    JSON.parse(await readFile(join(folder, `${name}.inputs.json`), 'utf8')) as string[];

  it('the agent’s holds no AWS and no Kubernetes code, and none of the server’s', async () => {
    const foreign = /@aws-sdk|@smithy|@kubernetes|^src\/(aws|kubernetes|server|sandbox)\//;
    assert.deepEqual(
      (await inputs('kiam-agent')).filter((path) => foreign.test(path)),
      [],
    );
  });

  it('the server’s holds nothing of the agent but its flags, and nothing of the sandbox', async () => {
    const foreign = /^src\/(sandbox|agent\/(?!interception\/host-))|node_modules\/fastify\//;
    assert.deepEqual(
      (await inputs('kiam-server')).filter((path) => foreign.test(path)),
      [],
    );
  });

  it('start with the options of Node that they need', async () => {
    const [shebang] = (await readFile(join(folder, 'kiam-agent.mjs'), 'utf8')).split('\n', 1);
    assert.equal(shebang, '#!/usr/bin/env -S node --use-system-ca --disable-sigusr1 --max-semi-space-size=1');
  });

  it('walk the whole way without node_modules', async () => {
    const run = (name: string): readonly string[] => [
      process.execPath,
      '--use-system-ca',
      '--disable-sigusr1',
      join(folder, name),
    ];
    cluster = await startCluster({}, { server: run('kiam-server.mjs'), agent: run('kiam-agent.mjs') });
    cluster.world.namespace('team', '.*');
    const server = await cluster.startServer();
    const agent = await cluster.startAgent(server.port);
    const pod = await cluster.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    const answer = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}reader` });
    assert.equal(answer.status, 200, answer.body);
    for (const program of ['kiam-agent.mjs', 'kiam-server.mjs']) {
      const { stderr } = await promisify(execFile)(
        process.execPath,
        [join(folder, program), 'health', `--server-address=localhost:${server.port}`, ...cluster.tlsFlags('agent')],
        { env: cluster.world.environment.clean },
      );
      assert.match(stderr, /healthy: ok/);
    }
  });
});
