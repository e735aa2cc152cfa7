import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import type { WorldPod } from '#sandbox/world.ts';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Connections are looked at in /proc. */
const ON_LINUX = { skip: process.platform !== 'linux' };
const PODS = 4;
/** From so long after the hang on every warm pod is served within {@link LONGEST_ANSWER_MS}. */
const NOTICED_MS = 4000;
const LONGEST_ANSWER_MS = 300;
const SERVE_STALE_MS = 30_000;
/** A stream that was heard so long ago is still alive: the silence counts from the last word. */
const HEARTBEAT_MS = 2000;

describe('an agent hangs', ON_LINUX, () => {
  it('its connection is closed by the server, whose keepalive it does not answer', async (t) => {
    const cluster = await startCluster();
    const flags = ['--grpc-keepalive-time-duration=1s', '--grpc-keepalive-timeout-duration=1s'];
    const server = await cluster.startServer({ flags });
    // Its own keepalive would close the connection as well, if it could.
    const agent = await cluster.startAgent(server.port);
    try {
      await agent.child.line(/a server answers/);
      assert.ok((await connections(server.port, 'server')).length > 0);
      agent.child.process.kill('SIGSTOP');
      const closedMs = await eventually(
        'it is closed',
        10_000,
        async () => (await connections(server.port, 'server')).length === 0,
      );
      t.diagnostic(`closed after ${Math.round(closedMs)} ms`);
    } finally {
      agent.child.process.kill('SIGCONT');
      await cluster.close();
    }
  });
});

describe('the only server hangs, and nothing but its word ties addresses to pods', ON_LINUX, () => {
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
    agent = await cluster.startAgent(server.port, {
      flags: ['--pod-rate=0', '--grpc-keepalive-time-duration=1s', '--grpc-keepalive-timeout-duration=1s'],
    });
    await agent.child.line(/the server streams what the pods of this node may have/);
  });

  after(async () => {
    server.child.process.kill('SIGCONT');
    await cluster.close();
  });

  /** Of every pod, each by a connection of its own. */
  const ask = (): Promise<Answer[]> =>
    Promise.all(pods.map(({ address: from, name }) => askHttp({ port: agent.port, from, path: `${LISTING}${name}` })));
  const areServed = (answers: readonly Answer[]): boolean => answers.every(({ status }) => status === 200);

  it('warm pods are served within 300 ms from 4 s after the hang until --serve-stale is over, then by the server again', async (t) => {
    await eventually('all are warm', 15_000, async () => areServed(await ask()));
    const before = await connections(server.port, 'agent');
    assert.ok(before.length > 0);
    server.child.process.kill('SIGSTOP');
    const hungMs = performance.now();
    const answers: Answer[] = [];
    let closedAfterMs = Number.POSITIVE_INFINITY;
    for (let sinceMs = 0; sinceMs < SERVE_STALE_MS - HEARTBEAT_MS - 1000; sinceMs = performance.now() - hungMs) {
      const now = await ask();
      if (sinceMs >= NOTICED_MS) answers.push(...now);
      const open = new Set(await connections(server.port, 'agent'));
      if (!before.some((end) => open.has(end))) closedAfterMs = Math.min(closedAfterMs, sinceMs);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const tookMs = answers.map((answer) => answer.tookMs).toSorted((one, other) => one - other);
    const at = (share: number): number => Math.round(tookMs[Math.ceil(tookMs.length * share) - 1] ?? 0);
    t.diagnostic(
      `${answers.length} requests: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(1)} ms; connections closed after ${Math.round(closedAfterMs)} ms`,
    );
    assert.deepEqual(
      answers.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${body}`),
      [],
    );
    // The machine that the tests run on may be busy: the slowest few say nothing.
    assert.ok(at(0.95) <= LONGEST_ANSWER_MS, `p95 ${at(0.95)} ms`);
    assert.ok(closedAfterMs < 10_000, 'a connection that answers no keepalive is closed');

    await eventually('nobody is served for ever', 15_000, async () => !areServed(await ask()));
    server.child.process.kill('SIGCONT');
    const backMs = await eventually('all are served by the server', 30_000, async () => areServed(await ask()));
    t.diagnostic(`all served again ${Math.round(backMs)} ms after the server continues`);
  });
});

/** The ends of the open connections between agents and the server at this port, on one of the two sides, by their addresses. */
async function connections(port: number, side: 'agent' | 'server'): Promise<readonly string[]> {
  const ESTABLISHED = '01';
  const server = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = (await readFile('/proc/net/tcp', 'utf8')).trim().split('\n').slice(1);
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, local, peer, state]) => (side === 'agent' ? peer : local) === server && state === ESTABLISHED)
    .map(([, local = '', peer = '']) => (side === 'agent' ? local : peer));
}
