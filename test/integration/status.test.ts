import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { kiamVersion } from '#bin/version.ts';
import { startChild } from '#sandbox/child.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { askHttp, type Cluster, type Daemon, FROM_SOURCES, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const ARN = 'arn:aws:iam::123456789012:role/';
const EXTERNAL_ID = 'an-external-id-that-nobody-is-told';

describe('kiam status', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  /** All that was ever said, for the last test. */
  const said: string[] = [];

  const run = async (...args: readonly string[]): Promise<{ code: number | null; lines: readonly string[] }> => {
    const socket = `--admin-socket=${join(cluster.world.folder, 'admin.sock')}`;
    const answer = await cluster.run(['status', socket, ...args]);
    said.push(...answer.lines);
    return answer;
  };
  const read = async (...args: readonly string[]): Promise<ServerStatus> => {
    const { lines } = await run('--json', ...args);
    const { replicas } = JSON.parse(lines.join('\n')) as { replicas: ServerStatus[] };
    const [status] = replicas;
    assert.ok(status !== undefined && replicas.length === 1);
    return status;
  };

  before(async () => {
    cluster = await startCluster();
    const { world } = cluster;
    world.namespace('team', `${ARN}(reader|denied)`);
    world.namespace('wide', '.*');
    world.namespace('account', `${ARN}.*`);
    world.namespace('closed');
    world.sts.role(`${ARN}denied`, { deny: true });
    await world.pod({ namespace: 'team', name: 'app', role: 'reader', externalId: EXTERNAL_ID });
    await world.pod({ namespace: 'team', name: 'plain' });
    await world.pod({ namespace: 'team', name: 'denied', role: 'denied', externalId: EXTERNAL_ID });
    await world.pod({ namespace: 'team', name: 'host', role: 'reader', hostNetwork: true });
    await world.pod({ namespace: 'wide', name: 'app', role: 'reader' });
    await world.pod({ namespace: 'account', name: 'app', role: 'reader' });
    await world.pod({ namespace: 'closed', name: 'app', role: 'arn:aws:s3:::bucket\u001b[31m\u202e' });
    server = await cluster.startServer({ flags: [`--admin-socket=${join(world.folder, 'admin.sock')}`] });
    agent = await cluster.startAgent(server.port);
    await agent.child.line(/the server streams what the pods of this node may have/);
    await eventually('STS has answered for all', 20_000, async () =>
      /kiam_sts_entries\{state="fresh"\} 2\n/.test(await server.metrics()),
    );
    await eventually('STS has refused', 20_000, async () => (await read()).failing.length === 3);
  });
  after(() => cluster.close());

  it('kiam status says who fails and why, first and in the words of kiam explain', async () => {
    const { failing, pods, replica, namespaces, nodes, identities } = await read();
    assert.equal(pods, 6, 'a pod without a role is none of its business');
    assert.deepEqual(
      failing.map(({ pod }) => pod),
      ['closed/app', 'team/denied', 'team/host'],
    );
    const [closed, denied, host] = failing.map(({ reason }) => reason);
    assert.match(closed ?? '', /is not the ARN of a role/);
    assert.match(denied ?? '', /STS failed .*AccessDenied/);
    assert.match(host ?? '', /it has hostNetwork/);
    assert.deepEqual(replica.waitingFor, []);
    assert.equal(replica.streams, 1);
    assert.ok((replica.viewAgeSeconds ?? 99) < 60 && (replica.certificateDaysLeft ?? -1) >= 0);
    assert.deepEqual(
      namespaces.map(({ name, problem }) => `${name}: ${problem}`),
      [
        'account: permits every role of the account',
        'closed: no expression: it permits nothing',
        'wide: permits every role of every account',
      ],
    );
    assert.deepEqual(nodes.map((node) => [node.streams, node.synced]).at(0), [1, true]);
    await eventually('the agent has reported', 20_000, async () => (await read()).nodes[0]?.agent !== null);
    const [node] = (await read()).nodes;
    const { version, redirect, guard, pods: held } = node?.agent ?? {};
    assert.deepEqual([version, redirect, guard, held], [kiamVersion(), 'off', 'off', 6]);
    const reader = identities.filter(({ roleArn }) => roleArn === `${ARN}reader`);
    assert.ok(
      reader.every(({ lastAnswer, remainingSeconds }) => lastAnswer === 'ok' && (remainingSeconds ?? 0) > 3000),
    );
    assert.ok(reader.every(({ calls }) => calls === 1));
    assert.equal(replica.sts.paused, false);
    const [worst] = identities;
    assert.deepEqual([worst?.roleArn, worst?.remainingSeconds], [`${ARN}denied`, null]);
  });

  it('kiam status fits 100 columns, without colours or control characters where it is no terminal', async () => {
    const { code, lines } = await run();
    assert.equal(code, 0);
    assert.ok(lines.every((line) => line.length <= 100));
    assert.ok(lines.every((line) => /^[\x20-\x7e]*$/.test(line)));
    const order = ['REPLICA', 'REASON ', 'EXPRESSION', 'NODE', 'ROLE'];
    const places = order.map((head) => lines.findIndex((line) => line.startsWith(head)));
    assert.deepEqual(
      places,
      places.toSorted((left, right) => left - right),
    );
    assert.ok(
      places.every((place) => place >= 0),
      lines.join('\n'),
    );
  });

  it('kiam status shows one namespace, or what fails alone', async () => {
    const { pods, failing } = await read('--namespace=wide');
    assert.deepEqual([pods, failing], [1, []]);
    const { lines } = await run('--failing');
    assert.ok(lines.some((line) => line.includes('team/denied')));
    assert.ok(!lines.some((line) => line.startsWith('REPLICA')));
  });

  it('kiam status has no secret in it', async () => {
    const ofPod = await cluster.world.pod({ namespace: 'team', name: 'late', role: 'reader' });
    const { body } = await askHttp({ port: agent.port, from: ofPod.address, path: `${LISTING}reader` });
    const fields = JSON.parse(body) as Record<string, string>;
    await read();
    const all = said.join('\n');
    for (const name of ['AccessKeyId', 'SecretAccessKey', 'Token']) {
      assert.ok((fields[name] ?? '').length > 10 && !all.includes(fields[name] ?? ''), name);
    }
    assert.ok(!all.includes(EXTERNAL_ID));
  });

  it('kiam status has colours on a terminal, unless NO_COLOR is set', async (t) => {
    if (!existsSync('/usr/bin/script')) return t.skip('NOT TESTED: there is no /usr/bin/script to make a terminal');
    const socket = join(cluster.world.folder, 'admin.sock');
    const command = [...FROM_SOURCES.server, 'status', `--admin-socket=${socket}`].join(' ');
    for (const [noColour, expected] of [
      ['', true],
      ['1', false],
    ] as const) {
      const child = startChild({
        name: 'script',
        argv: ['/usr/bin/script', '--quiet', '--return', '--command', command, '/dev/null'],
        environment: { ...cluster.world.environment.clean, NO_COLOR: noColour },
      });
      const { code } = await child.exited;
      assert.deepEqual([code, child.lines.some((line) => line.includes('\u001b[31m'))], [0, expected]);
      assert.ok(child.lines.some((line) => line.includes('REPLICA')));
    }
    return undefined;
  });

  it('kiam status exits 1 where no server answers', async () => {
    const { code, lines } = await run('--admin-socket=/nowhere/admin.sock');
    assert.equal(code, 1);
    assert.match(lines.join('\n'), /no server answers here; ask one in its container/);
  });
});
