import assert from 'node:assert/strict';
import { copyFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Long enough for what is said again and again to be said again. */
const A_WHILE_MS = 2500;

describe('what a daemon depends on goes away and comes back', () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
  });

  after(() => cluster.close());

  const isReady = async (daemon: Daemon): Promise<boolean> => (await daemon.readiness()).status === 200;

  /** That it continues, says what is wrong once, and is not ready for that reason. */
  async function endures(daemon: Daemon, said: RegExp, reason: RegExp): Promise<void> {
    await daemon.child.line(said);
    await new Promise((resolve) => setTimeout(resolve, A_WHILE_MS));
    assert.equal(daemon.child.lines.filter((line) => said.test(line)).length, 1, daemon.child.lines.join('\n'));
    const { status, body } = await daemon.readiness();
    assert.equal(status, 503);
    assert.match(body, reason);
    assert.equal(daemon.child.process.exitCode, null);
  }

  const serverFlags = (...more: readonly string[]): readonly string[] => [
    'server',
    '--json-log',
    '--prometheus-listen-addr=127.0.0.1:0',
    `--kubeconfig=${cluster.world.kubeconfigs.server}`,
    ...more,
  ];

  /** A server that finds the base ARN at the metadata service. */
  const startDetecting = (): Promise<Daemon> =>
    cluster.startServer({
      detached: true,
      exactly: serverFlags(
        '--bind=127.0.0.1:0',
        '--role-base-arn-autodetect',
        `--metadata-endpoint=${cluster.world.metadata.url}`,
        ...cluster.tlsFlags('server'),
      ),
    });

  const ask = (agent: Daemon, from: string, role = ''): Promise<Answer> =>
    askHttp({ port: agent.port, from, path: `${LISTING}${role}` });

  it('an agent without a server waits for one, and serves when there is one', async () => {
    const port = await freePort();
    const agent = await cluster.startAgent(port);
    const { address } = await cluster.world.pod({ namespace: 'team', name: 'early', role: 'early' });
    const [answer] = await Promise.all([
      ask(agent, address),
      endures(agent, /"msg":"no server answers; retrying"/, /no server answers/),
    ]);
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
    const deep = await askHttp({ port: agent.port, path: '/health?deep=1' });
    assert.equal(deep.status, 500);
    assert.match(deep.body, /^server health: .+\n$/);
    assert.equal((await askHttp({ port: agent.port, path: '/health' })).status, 200);

    const server = await cluster.startServer({
      exactly: serverFlags(
        `--bind=127.0.0.1:${port}`,
        `--role-base-arn=${cluster.world.roleBaseArn}`,
        ...cluster.tlsFlags('server'),
      ),
    });
    await eventually('the agent is ready', 15_000, () => isReady(agent));
    assert.equal((await ask(agent, address, 'early')).status, 200);
    await eventually(
      'the deep check is well',
      15_000,
      async () => (await askHttp({ port: agent.port, path: '/health?deep=1' })).status === 200,
    );

    cluster.world.metadata.fail('hang');
    await eventually('the check tells that the metadata service is away', 15_000, async () => {
      const { status, body } = await askHttp({ port: agent.port, path: '/health?deep=1' });
      return status === 500 && body.startsWith('metadata service: ');
    });
    cluster.world.metadata.fail(undefined);
    await eventually(
      'the check is well again',
      15_000,
      async () => (await askHttp({ port: agent.port, path: '/health' })).status === 200,
    );
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  for (const side of ['agent', 'server'] as const) {
    it(`the ${side}'s certificate is none at start, and is fixed`, async () => {
      const { world } = cluster;
      const { agentCertificate, serverCertificate } = world.certificates;
      const path = `${world.folder}/${side}-late.pem`;
      await writeFile(path, 'nonsense');
      const flags = [`--cert=${path}`, ...cluster.tlsFlags(side).slice(1)];
      const daemon =
        side === 'server'
          ? await cluster.startServer({
              detached: true,
              exactly: serverFlags('--bind=127.0.0.1:0', `--role-base-arn=${world.roleBaseArn}`, ...flags),
            })
          : await cluster.startAgent(0, {
              detached: true,
              exactly: [
                'agent',
                '--json-log',
                '--prometheus-listen-addr=127.0.0.1:0',
                '--port=0',
                '--host=127.0.0.1',
                '--server-address=localhost:1',
                ...flags,
              ],
            });
      await endures(daemon, /"msg":"the TLS certificate cannot be used"/, /late\.pem/);
      await copyFile(side === 'server' ? serverCertificate : agentCertificate, path);
      await eventually(
        'the certificate is no longer the reason',
        15_000,
        async () => !(await daemon.readiness()).body.includes('late.pem'),
      );
      await daemon.child.line(/"msg":"TLS certificate in use"/);
      await daemon.child.stop();
    });
  }

  it('the API server is away at start, later, and back each time', async () => {
    const { world } = cluster;
    await world.api.listener.stop();
    const server = await cluster.startServer({ detached: true });
    await endures(
      server,
      /Kubernetes API does not answer as expected.*"resource":"pods"|"resource":"pods".*Kubernetes API does not answer/,
      /waiting for the pods, namespaces and ServiceAccounts/,
    );
    await world.api.listener.start();
    await server.child.line(/"msg":"will serve on"/);
    await eventually('the server is ready', 15_000, () => isReady(server));

    const port = Number(/:(\d+)"/.exec(await server.child.line(/"msg":"will serve on"/))?.[1]);
    const agent = await cluster.startAgent(port);
    const known = await world.pod({ namespace: 'team', name: 'known', role: 'known' });
    assert.equal((await ask(agent, known.address, 'known')).status, 200);

    await world.api.listener.stop();
    assert.equal((await ask(agent, known.address, 'known')).status, 200);
    const unknown = await world.pod({ namespace: 'team', name: 'unknown', role: 'unknown' });
    assert.equal((await ask(agent, unknown.address, 'unknown')).status, 503);
    await world.api.listener.start();
    await eventually(
      'the new pod is served',
      15_000,
      async () => (await ask(agent, unknown.address, 'unknown')).status === 200,
    );
    await server.child.line(/"msg":"the Kubernetes API is back"/);
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  it('STS is away at start: the server serves and is not ready until AWS has accepted its identity, and then for good', async () => {
    const { world } = cluster;
    await world.sts.listener.stop();
    const server = await cluster.startServer();
    const agent = await cluster.startAgent(server.port);
    await agent.child.line(/the server streams what the pods of this node may have/);
    await endures(
      server,
      /AWS has not accepted the server's own identity yet/,
      /^AWS has not accepted the server's own identity yet: AWS STS is not available\n$/,
    );
    await world.sts.listener.start();
    await eventually('the server is ready', 15_000, () => isReady(server));
    await world.sts.listener.stop();
    await new Promise((resolve) => setTimeout(resolve, A_WHILE_MS));
    assert.ok(await isReady(server));
    await world.sts.listener.start();
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  it("the server's own keys are unknown to AWS: it is not ready and says so, with a pod to serve as without", async () => {
    const { world } = cluster;
    const server = await cluster.startServer({ environment: { AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' } });
    await world.pod({ namespace: 'team', name: 'broken', role: 'broken' });
    await endures(
      server,
      /AWS has not accepted the server's own identity yet/,
      /own identity yet: the server's own AWS credentials do not work: InvalidClientTokenId/,
    );
    await server.child.stop();
  });

  it('STS is away, and back', async () => {
    const { world } = cluster;
    const server = await cluster.startServer();
    await eventually('the server is ready', 15_000, () => isReady(server));
    const agent = await cluster.startAgent(server.port);
    await world.sts.listener.stop();
    const { address } = await world.pod({ namespace: 'team', name: 'cold', role: 'cold' });
    const answer = await ask(agent, address, 'cold');
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
    assert.match(answer.body, /AWS STS is not available/);
    await server.child.line(/"msg":"error requesting credentials"/);
    assert.ok(await isReady(server), 'pods with warm credentials go on');
    await world.sts.listener.start();
    await eventually('the pod is served', 40_000, async () => (await ask(agent, address, 'cold')).status === 200);
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  it('the metadata service is away when the base ARN is to be found there, and back', async () => {
    const { world } = cluster;
    await world.metadata.listener.stop();
    const server = await startDetecting();
    await endures(server, /"msg":"cannot detect the base ARN; retrying"/, /waiting for the base ARN/);
    await world.metadata.listener.start();
    assert.match(
      await server.child.line(/"msg":"using the base ARN of the instance profile"/),
      /"arn:aws:iam::123456789012:role\/"/,
    );
    await eventually('the server is ready', 15_000, () => isReady(server));
    await server.child.stop();
  });

  it('the metadata service keeps its tokens to the node: the base ARN is read without, where it may be', async () => {
    const { world } = cluster;
    world.metadata.keepTokens(true);
    const server = await startDetecting();
    await endures(server, /"cannot detect the base ARN; retrying"/, /waiting for the base ARN/);
    const [said = ''] = server.child.lines.filter((line) => line.includes('cannot detect the base ARN; retrying'));
    assert.match(said, /HttpTokens=required.*hop limit is 1.*hostNetwork: true/);
    world.metadata.requireToken(false);
    assert.match(
      await server.child.line(/"msg":"using the base ARN of the instance profile"/),
      /"arn:aws:iam::123456789012:role\/"/,
    );
    await server.child.stop();
    world.metadata.requireToken(true);
    world.metadata.keepTokens(false);
  });
});

/** A port that nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
