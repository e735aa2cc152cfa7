import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { Agent } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const REPLACEMENTS = 5;

describe('an agent that another replaces on the same port', { skip: process.platform !== 'linux' }, () => {
  let cluster: Cluster;
  let server: Daemon;
  let pod: WorldPod;
  let port: number;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    pod = await cluster.world.pod({ namespace: 'team', name: 'app', role: 'app' });
    server = await cluster.startServer();
    port = await freePort();
  });
  after(() => cluster.close());

  const fileOf = (turn: number): string => join(cluster.world.folder, `started-${turn}`);
  const startAgent = (turn: number): Promise<Daemon> =>
    cluster.startAgent(server.port, {
      flags: [`--port=${port}`, `--started-file=${fileOf(turn)}`, '--pod-rate=0'],
      detached: true,
    });
  const hasStarted = (turn: number): Promise<unknown> =>
    eventually(`agent ${turn} answers pods`, 20_000, () => existsSync(fileOf(turn)));

  it(`an agent that another replaces on the same port in ${REPLACEMENTS} of ${REPLACEMENTS} refuses no connection, and fails none but one that arrives while the old one stops listening`, async (t) => {
    let agent = await startAgent(0);
    await hasStarted(0);
    const failures: string[] = [];
    let answered = 0;
    const done = new AbortController();
    t.after(() => done.abort());
    const asking = (async () => {
      for (let round = 0; !done.signal.aborted; round += 1) {
        try {
          // Some SDKs have a connection for each request, others keep one for token, role and credentials.
          const connections = new Agent({ keepAlive: round % 2 === 0 });
          for (const path of [LISTING, `${LISTING}app`]) {
            const { status, body } = await askHttp({ port, from: pod.address, path, connections });
            if (status === 200) answered += 1;
            else failures.push(`${status} ${body}`);
          }
          connections.destroy();
        } catch (error) {
          failures.push(String(error));
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    for (let turn = 1; turn <= REPLACEMENTS; turn += 1) {
      const next = await startAgent(turn);
      await hasStarted(turn);
      assert.deepEqual(await agent.child.stop('SIGTERM'), { code: 0, signal: null });
      assert.equal(existsSync(fileOf(turn - 1)), false, 'the file goes with its agent');
      agent = next;
    }
    done.abort();
    await asking;
    t.diagnostic(`${answered} requests answered, ${failures.length} failed during ${REPLACEMENTS} replacements`);
    // What the kernel has accepted and the old agent has not is reset when it closes its socket: a moment, hit by chance.
    const others = failures.filter((failure) => !failure.includes('ECONNRESET'));
    assert.deepEqual(others, []);
    assert.ok(failures.length <= REPLACEMENTS, failures.join('\n'));
    assert.ok(answered > 20 * REPLACEMENTS);
    await agent.child.stop('SIGTERM');
  });

  it('an agent that no server answers does not take over while the one before it answers pods', async () => {
    const before = await startAgent(10);
    await hasStarted(10);
    const nobody = await freePort();
    const flags = [`--port=${port}`, `--started-file=${fileOf(11)}`, '--pod-rate=0'];
    const next = await cluster.startAgent(nobody, { flags, detached: true });
    await next.child.line(/another agent listens here/);
    for (let request = 0; request < 50; request += 1) {
      assert.equal((await askHttp({ port, from: pod.address, path: LISTING })).status, 200);
    }
    assert.equal(existsSync(fileOf(11)), false);
    await before.child.stop('SIGTERM');
    await hasStarted(11);
    await next.child.stop('SIGTERM');
  });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => {
    probe.listen(0, '127.0.0.1', resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => {
    probe.close(resolve);
  });
  return typeof address === 'object' && address !== null ? address.port : 0;
}
