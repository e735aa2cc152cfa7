import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const BASE_ARN = 'arn:aws:iam::123456789012:role/';

describe('a daemon that is told to stop', () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
  });

  after(() => cluster.close());

  /** Both daemons, and a request of a pod that the server has begun to answer and STS holds up. */
  async function startRequest(role: string, how: { hang?: boolean; delayMs?: number }) {
    const server = await cluster.startServer();
    const agent = await cluster.startAgent(server.port);
    cluster.world.sts.role(`${BASE_ARN}${role}`, how);
    const { address } = await cluster.world.pod({ namespace: 'team', name: role.toLowerCase(), role });
    const { controls } = cluster.world.api;
    const before = controls.requests('get', 'pods');
    const answer = askHttp({ port: agent.port, from: address, path: `${LISTING}${role}` });
    // A test that fails before it looks at the answer must not fail twice.
    answer.catch(() => {});
    // It asks the API server whose address this is when it has been asked for the pod.
    await eventually('the server has the request', 15_000, () =>
      Promise.resolve(controls.requests('get', 'pods') > before),
    );
    return { server, agent, answer };
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`a daemon that is told to stop by ${signal}: the agent answers what it has been asked, then ends with 0`, async () => {
      const { server, agent, answer } = await startRequest(`agent-${signal.toLowerCase()}`, { delayMs: 500 });
      const stopped = agent.child.stop(signal);
      assert.equal((await answer).status, 200);
      assert.deepEqual(await stopped, { code: 0, signal: null });
      await server.child.stop();
    });

    it(`a daemon that is told to stop by ${signal}: the server answers what it has been asked, then ends with 0`, async () => {
      const { server, agent, answer } = await startRequest(`server-${signal.toLowerCase()}`, { delayMs: 500 });
      const stopped = server.child.stop(signal);
      assert.equal((await answer).status, 200);
      assert.deepEqual(await stopped, { code: 0, signal: null });
      await agent.child.stop();
    });
  }

  for (const which of ['agent', 'server'] as const) {
    it(`told to stop twice the ${which} ends at once, with 1`, async () => {
      const daemons = await startRequest(`stuck-${which}`, { hang: true });
      const { child } = daemons[which];
      // Both at once: the request that holds it up is given up after a while, and a busy machine is slow to show a line.
      child.process.kill('SIGTERM');
      assert.deepEqual(await child.stop('SIGINT'), { code: 1, signal: null });
      assert.ok(child.lines.some((line) => line.includes('"msg":"stopping"')));
      assert.ok(child.lines.some((line) => line.includes('stopping at once')));
      await Promise.all([daemons.agent.child.stop('SIGKILL'), daemons.server.child.stop('SIGKILL')]);
    });
  }

  it('a daemon that is told to stop while it waits for the API server ends with 0 as well', async () => {
    await cluster.world.api.listener.stop();
    const server = await cluster.startServer({ detached: true });
    await server.child.line(/Kubernetes API does not answer as expected/);
    assert.deepEqual(await server.child.stop(), { code: 0, signal: null });
    await cluster.world.api.listener.start();
  });
});

describe('kiam health', () => {
  let cluster: Cluster;
  let server: Daemon;

  before(async () => {
    cluster = await startCluster();
    server = await cluster.startServer();
  });

  after(() => cluster.close());

  it('kiam health ends with 0 when the server is well', async () => {
    const { code, lines } = await cluster.run([
      'health',
      `--server-address=localhost:${server.port}`,
      '--timeout=5s',
      '--gateway-timeout-creation=5s',
      ...cluster.tlsFlags('agent'),
    ]);
    assert.equal(code, 0, lines.join('\n'));
    assert.match(lines.join('\n'), /healthy: ok/);
  });

  it('kiam health ends with 1 and says why when there is no server, about when its time is up', async () => {
    const startedMs = performance.now();
    const { code, lines } = await cluster.run([
      'health',
      '--server-address=localhost:1',
      '--timeout=300ms',
      ...cluster.tlsFlags('agent'),
    ]);
    assert.equal(code, 1);
    assert.match(lines.join('\n'), /error checking health.*(no connection|ECONNREFUSED)/);
    assert.ok(performance.now() - startedMs < 10_000);
  });

  it('kiam health ends with 1 and says why when its certificate is none', async () => {
    const path = `${cluster.world.folder}/nonsense.pem`;
    await writeFile(path, 'nonsense');
    const { code, lines } = await cluster.run([
      'health',
      `--server-address=localhost:${server.port}`,
      `--cert=${path}`,
      ...cluster.tlsFlags('agent').slice(1),
    ]);
    assert.equal(code, 1);
    assert.match(lines.join('\n'), /error checking health.*nonsense\.pem/);
  });

  it('kiam health ends with 1 when the server is not who it should be', async () => {
    const { code, lines } = await cluster.run([
      'health',
      `--server-address=127.0.0.2:${server.port}`,
      '--timeout=500ms',
      ...cluster.tlsFlags('agent'),
    ]);
    assert.equal(code, 1, lines.join('\n'));
  });
});

describe('a command line with mistakes', () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
  });

  after(() => cluster.close());

  for (const [what, args, named] of [
    [
      'an agent’s',
      ['agent', '--port=many', '--bogus', '--wait=1d'],
      ['--port', '--bogus', '--wait', '--host', '--cert', '--key', '--ca'],
    ],
    [
      'a server’s',
      ['server', '--fetchers=few', '--session-duration=1m', '--nothing'],
      ['--fetchers', '--session-duration', '--nothing', '--cert', '--role-base-arn'],
    ],
    ['a health check’s', ['health', '--timeout=soon'], ['--timeout', '--cert', '--key', '--ca']],
    ['no command', ['serve'], ['serve']],
  ] as const) {
    it(`a command line with mistakes (${what}) has all of them named, and ends with 1`, async () => {
      const { code, lines } = await cluster.run(args);
      assert.equal(code, 1);
      const said = lines.join('\n');
      for (const name of named) assert.ok(said.includes(name), `${name} in:\n${said}`);
      assert.doesNotMatch(said, /^\s+at /m);
    });
  }
});
