import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const PROGRAM = join(import.meta.dirname, '../../src/bin/kiam.ts');

describe('who was served an access key', () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
  });

  after(() => cluster.close());

  const whois = (words: readonly string[], input = ''): Promise<{ code: number; out: string }> =>
    new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [PROGRAM, 'whois', ...words],
        { env: cluster.world.environment.clean },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : 1, out: stdout + stderr }),
      );
      child.stdin?.end(input);
    });

  it('is told by kiam whois from the audit logs of an agent and of its successor', async () => {
    const { world } = cluster;
    const path = join(world.folder, 'audit.log');
    const socket = join(world.folder, 'admin.sock');
    const server = await cluster.startServer({ flags: [`--admin-socket=${socket}`] });
    const { address } = await world.pod({ namespace: 'team', name: 'app', role: 'app' });
    let accessKeyId = '';
    for (const lines of [1, 2]) {
      const agent = await cluster.startAgent(server.port, { flags: [`--audit-log=${path}`] });
      await agent.child.line(/the server streams what the pods of this node may have/);
      for (let request = 0; request < 3; request += 1) {
        const { status, body } = await askHttp({ port: agent.port, from: address, path: `${LISTING}app` });
        assert.equal(status, 200);
        accessKeyId = String(JSON.parse(body).AccessKeyId);
      }
      await eventually('it is written', 5000, async () => (await log(path)).split(accessKeyId).length > lines);
      await agent.child.stop();
    }
    const text = await log(path);
    assert.equal(text.trim().split('\n').length, 2, 'one for each agent');

    const found = await whois([accessKeyId, `--log=${path}`, '--admin-socket=']);
    assert.equal(found.code, 0, found.out);
    assert.equal(found.out.match(/^team\/app \(UID /gm)?.length, 1, found.out);
    assert.match(found.out, new RegExp(`role: +${world.roleBaseArn}app\n`));
    assert.match(found.out, /ServiceAccount: +\S+\n.*session name: +kiam-kiam\n/s);

    const piped = await whois([accessKeyId, '--json', '--admin-socket='], `another line\n[pod/agent] ${text}`);
    assert.equal(JSON.parse(piped.out).pod, 'app');
    const before = await whois([accessKeyId, `--log=${path}`, '--admin-socket=', '--at=2020-01-01T00:00:00Z']);
    assert.deepEqual([before.code, before.out.includes('no pod was served')], [1, true]);
    assert.equal((await whois(['ASIAXXXXXXXXXXXXXXXX', `--log=${path}`, '--admin-socket='])).code, 1);
    assert.match((await whois(['short'])).out, /is no access key id/);

    // Without any log the server tells which pod has the session; with one, each pod is told once.
    const bySocket = await whois([accessKeyId, `--admin-socket=${socket}`, '--at=2999-01-01T00:00:00Z']);
    assert.deepEqual([bySocket.code, bySocket.out.includes('of the role')], [1, true], bySocket.out);
    const here = await whois([accessKeyId, `--admin-socket=${socket}`]);
    assert.equal(here.code, 0, here.out);
    assert.match(here.out, /^team\/app \(UID \S+\)\n +by: +the memory of .*: it has this session now/);
    assert.match(here.out, new RegExp(`role: +${world.roleBaseArn}app\n.*session name: +kiam-kiam\n`, 's'));
    const both = await whois([accessKeyId, `--log=${path}`, `--admin-socket=${socket}`, '--json']);
    assert.deepEqual(
      both.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).server),
      [null],
    );
    world.api.removePod('team', 'app');
    await eventually('the pod is gone', 10_000, async () => {
      const { out } = await whois([accessKeyId, `--admin-socket=${socket}`]);
      return out.includes('which no pod has now');
    });
    const nobody = await whois([accessKeyId, `--admin-socket=${join(world.folder, 'none.sock')}`]);
    assert.match(nobody.out, /no server answers at .*none\.sock/);
    await server.child.stop();
  });

  it('is written to standard output by --audit-log=-, and not at all by default', async () => {
    const { world } = cluster;
    const server = await cluster.startServer();
    const { address } = await world.pod({ namespace: 'team', name: 'second', role: 'second' });
    for (const [flags, expected] of [
      [['--audit-log=-'], 1],
      [[], 0],
    ] as const) {
      const agent = await cluster.startAgent(server.port, { flags });
      const { status } = await askHttp({ port: agent.port, from: address, path: `${LISTING}second` });
      assert.equal(status, 200);
      await agent.child.stop();
      assert.equal(agent.child.lines.filter((line) => line.includes('"audit":')).length, expected);
    }
    await server.child.stop();
  });
});

function log(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
