import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { checkServers } from '#doctor/servers.ts';
import { readCertificates } from '#rpc/certificates.ts';

import { type Cluster, type Daemon, startCluster } from '../support/cluster.ts';
import { buildPrograms, diagnose, type Diagnosis, type Programs, wrongOf } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { MISTAKES, type Mistake, type Planted, type Setting } from './doctor-mistakes.ts';
import { writePair } from './doctor-pairs.ts';

/** What a machine of developers is not: a node with rules. Its interception is planted with mistakes in test/network. */
const OF_THE_NODE = ['interception', 'interfaces', 'interceptors'];

describe('doctor', () => {
  let programs: Programs;
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  let setting: Setting;
  const listeners: Server[] = [];

  before(async () => {
    programs = await buildPrograms();
    cluster = await startCluster();
    const { world } = cluster;
    world.namespace('sound', `${world.roleBaseArn}.*`);
    await world.pod({ namespace: 'sound', name: 'reader', role: 'reader' });
    await world.pod({ namespace: 'sound', name: 'without' });
    // On every address, so that it can be reached by one that it has no name for.
    server = await cluster.startServer({ flags: ['--bind=0.0.0.0:0'] });
    agent = await cluster.startAgent(server.port);
    await eventually('both daemons are ready', 20_000, async () => {
      const answers = await Promise.all([server.readiness(), agent.readiness()]);
      return answers.every(({ status }) => status === 200);
    });
    const folder = await mkdtemp(join(tmpdir(), 'kiam-mistakes-'));
    setting = {
      world,
      folder,
      serverPort: server.port,
      pair: (request) => writePair(world, folder, request),
      listen: async (answer) => {
        const listener = createServer((request, response) => response.end(answer(request.url ?? '')));
        listeners.push(listener);
        await new Promise<void>((resolve) => {
          listener.listen(0, '127.0.0.1', resolve);
        });
        return (listener.address() as AddressInfo).port;
      },
    };
  });

  after(async () => {
    for (const listener of listeners) listener.close();
    await cluster.close();
    await programs.remove();
    await rm(setting.folder, { recursive: true, force: true });
  });

  /** Without what belongs to the node: see {@link OF_THE_NODE}. */
  const run = async (target: Mistake['target'], { flags = [], environment = {} }: Planted = {}): Promise<Diagnosis> => {
    const { world } = cluster;
    const args = {
      agent: [
        'agent',
        `--port=${agent.port}`,
        '--host=127.0.0.1',
        `--server-address=127.0.0.1:${server.port}`,
        `--metadata-endpoint=${world.metadata.url}`,
        `--prometheus-listen-addr=127.0.0.1:${await metricsPort(agent)}`,
        ...cluster.tlsFlags('agent'),
      ],
      server: [
        'server',
        '--bind=127.0.0.1:0',
        `--kubeconfig=${world.kubeconfigs.server}`,
        `--role-base-arn=${world.roleBaseArn}`,
        `--prometheus-listen-addr=127.0.0.1:${await metricsPort(server)}`,
        ...cluster.tlsFlags('server'),
      ],
      cluster: [`--kubeconfig=${world.kubeconfigs.admin}`, `--role-base-arn=${world.roleBaseArn}`],
    }[target];
    const diagnosis = await diagnose({
      program: target === 'agent' ? programs.agent : programs.server,
      args: [...args, ...flags],
      environment: { ...(target === 'server' ? world.environment.server : world.environment.clean), ...environment },
    });
    return { ...diagnosis, findings: diagnosis.findings.filter(({ check }) => !OF_THE_NODE.includes(check)) };
  };

  for (const target of ['agent', 'server', 'cluster'] as const) {
    it(`doctor finds nothing wrong with a sound set-up, from the ${target}`, async () => {
      const diagnosis = await run(target);
      assert.ok(diagnosis.findings.length >= 3, diagnosis.text);
      assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
      if (target !== 'agent') assert.equal(diagnosis.code, 0);
    });
  }

  it('doctor finds nothing wrong with a hop limit of 1 where the server may read without a token', async () => {
    const { metadata } = cluster.world;
    metadata.keepTokens(true);
    metadata.requireToken(false);
    const diagnosis = await run('server', {
      flags: [`--metadata-endpoint=${metadata.url}`, '--role-base-arn-autodetect'],
    });
    metadata.requireToken(true);
    metadata.keepTokens(false);
    assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
    const said = diagnosis.findings.filter(({ check }) => check === 'base ARN').map(({ says }) => says);
    assert.match(said[0] ?? '', /it is read without a token/);
    assert.equal(said[1], 'the instance profile says arn:aws:iam::123456789012:role/');
  });

  it('doctor is planted with twenty mistakes and more', () => assert.ok(MISTAKES.length >= 20));

  for (const { name, target, plant, check, says, fix, remove } of MISTAKES) {
    it(`doctor names ${name}, with its fix`, async () => {
      const planted = await plant(setting);
      const diagnosis = await run(target, planted ?? {});
      await remove?.(setting);
      const named = diagnosis.findings.find((finding) => finding.check === check && says.test(finding.says));
      assert.ok(named, diagnosis.text);
      assert.equal(named.verdict, 'wrong');
      assert.match(named.fix, fix);
      assert.equal(diagnosis.code, 1);
    });
  }

  it('doctor asks every address of a name, and names the one that does not answer', async () => {
    const { ca, agentCertificate, agentKey } = cluster.world.certificates;
    const files = { certPath: agentCertificate, keyPath: agentKey, caPath: ca };
    const reading = await readCertificates(files, Date.now());
    assert.ok(reading.outcome === 'good');
    const [resolved, first, second, third] = await checkServers({
      host: 'kiam-server',
      port: server.port,
      snapshot: reading.snapshot,
      limitMs: 3000,
      signal: new AbortController().signal,
      resolve: async () => ['127.0.0.1', '::1', '127.0.0.2'],
    });
    assert.equal(resolved?.says, `kiam-server:${server.port} is 127.0.0.1, ::1, 127.0.0.2`);
    assert.deepEqual([first?.verdict, second?.verdict, third?.verdict], ['ok', 'wrong', 'ok']);
    assert.match(second?.says ?? '', /^\[::1\]:\d+ (?:is reached, and nothing listens|cannot be reached)/);
    assert.equal(third?.says, `127.0.0.2:${server.port} answers for kiam-server: ok`);
  });

  it('doctor assumes roles for the shortest time and without any permission', async () => {
    cluster.world.sts.calls.clear();
    await run('server');
    const own = cluster.world.sts.calls
      .list(`${cluster.world.roleBaseArn}reader`)
      .filter(({ policy }) => policy !== '');
    assert.deepEqual(
      own.map(({ durationSeconds, outcome, policy }) => [durationSeconds, outcome, JSON.parse(policy).Statement]),
      [[900, 'ok', [{ Effect: 'Deny', Action: '*', Resource: '*' }]]],
    );
  });

  it('doctor tells in lines what it tells in JSON, and counts at the end', async () => {
    const { folder, world } = setting;
    const text = await cluster.run(['doctor', `--kubeconfig=${world.kubeconfigs.admin}`]);
    assert.equal(text.code, 0, folder);
    assert.match(
      text.lines.join('\n'),
      /^ok +access +RBAC allows everything that is needed: list pods, list namespaces, list serviceaccounts$/m,
    );
    assert.match(
      text.lines.join('\n'),
      /^cannot tell +namespaces +sound: the ARN of the short role of reader is not known\n +fix: give --role-base-arn/m,
    );
    assert.equal(text.lines.at(-1), 'Nothing is wrong; 2 could not be determined.');
  });

  it('doctor shows no secret', async () => {
    const { world } = cluster;
    const diagnosis = await run('server');
    const key = await readFile(world.certificates.serverKey, 'utf8');
    assert.ok(!diagnosis.text.includes(world.environment.server['AWS_SECRET_ACCESS_KEY'] ?? '-'));
    assert.ok(!diagnosis.text.includes(key.split('\n')[1] ?? '-'));
  });
});

async function metricsPort(daemon: Daemon): Promise<string> {
  return /:(\d+)"/.exec(await daemon.child.line(/"msg":"metrics: listening"/))?.[1] ?? '';
}
