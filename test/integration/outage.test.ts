import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const PODS = 20;
const SERVE_STALE_MS = 3000;
/** A stream that was heard so long ago is still alive: the silence counts from the last word, not from the death. */
const HEARTBEAT_MS = 2000;

describe('every server is killed, and nothing but their word holds addresses to pods', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  const pods: WorldPod[] = [];

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    for (let count = 1; count <= PODS; count += 1) {
      pods.push(await cluster.world.pod({ namespace: 'team', name: `pod-${count}`, role: `pod-${count}` }));
    }
    server = await cluster.startServer();
    agent = await cluster.startAgent(server.port, { flags: [`--serve-stale=${SERVE_STALE_MS}ms`, '--pod-rate=0'] });
    await agent.child.line(/the server streams what the pods of this node may have/);
  });

  after(() => cluster.close());

  const statuses = (): Promise<readonly number[]> =>
    Promise.all(
      pods.map(async ({ address: from, name }) => {
        const { status } = await askHttp({ port: agent.port, from, path: `${LISTING}${name}` });
        return status;
      }),
    );
  const areAll = (status: number, of: readonly number[]): boolean => of.every((one) => one === status);

  it('warm pods are answered for --serve-stale, then 503; and all again when a server is back, by the same agent', async (t) => {
    await eventually('all are warm', 15_000, async () => areAll(200, await statuses()));
    const started = (await agent.metrics()).match(/process_start_time_seconds (\S+)/)?.[1];
    await server.child.stop('SIGKILL');
    const killedMs = performance.now();
    let lastServedMs = killedMs;
    for (let answers = await statuses(); areAll(200, answers); answers = await statuses()) {
      lastServedMs = performance.now();
      assert.ok(lastServedMs - killedMs < 15_000, 'they are served for ever');
    }
    const servedForMs = lastServedMs - killedMs;
    t.diagnostic(`all served for ${servedForMs.toFixed(0)} ms after the death, with --serve-stale=${SERVE_STALE_MS}ms`);
    assert.ok(servedForMs > SERVE_STALE_MS - HEARTBEAT_MS - 500 && servedForMs < SERVE_STALE_MS + 1000);
    assert.ok(areAll(503, await statuses()));

    const back = await cluster.startServer({
      exactly: [
        'server',
        '--json-log',
        '--prometheus-listen-addr=127.0.0.1:0',
        `--bind=127.0.0.1:${server.port}`,
        `--kubeconfig=${cluster.world.kubeconfigs.server}`,
        `--role-base-arn=${cluster.world.roleBaseArn}`,
        ...cluster.tlsFlags('server'),
      ],
    });
    const backMs = await eventually('all are served', 30_000, async () => areAll(200, await statuses()));
    t.diagnostic(`all served again ${backMs.toFixed(0)} ms after a server is back`);
    assert.equal((await agent.metrics()).match(/process_start_time_seconds (\S+)/)?.[1], started);
    await back.child.stop();
  });
});
