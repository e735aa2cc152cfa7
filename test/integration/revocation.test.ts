import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, it } from 'node:test';

import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';

const EVENTS = 60;
const TOGETHER = 10;
const LIMIT_MS = 1000;
const NEIGHBOURS = 8;

/** Percentiles of times in milliseconds, in words. */
function distribution(times: readonly number[]): { readonly text: string; readonly p99: number } {
  const sorted = times.toSorted((left, right) => left - right);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const [p50, p99, max] = [at(0.5), at(0.99), sorted.at(-1) ?? 0];
  return {
    p99,
    text: `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, max ${max.toFixed(0)} ms of ${times.length}`,
  };
}

describe('a role that is taken from a pod', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;
  const done = new AbortController();
  let load: Promise<unknown> = Promise.resolve();
  let loadRequests = 0;
  let loadRefusals = 0;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    await cluster.world.pod({ namespace: 'team', name: 'resident' });
    server = await cluster.startServer();
    agent = await cluster.startAgent(server.port, { flags: ['--pod-rate=0', '--pod-concurrency=0'] });
    await agent.child.line(/the server streams what the pods of this node may have/);
    load = Promise.all(Array.from({ length: NEIGHBOURS }, (_, index) => beBusy(`neighbour-${index}`)));
  });

  after(async () => {
    done.abort();
    await load;
    connections.destroy();
    await cluster.close();
  });

  // Each pod keeps one, so that it is answered from the memory: no kernel shows here who has opened another.
  const connections = new Agent({ keepAlive: true, maxSockets: 1 });

  const ask = ({ address, name }: Pick<WorldPod, 'address' | 'name'>) =>
    askHttp({ port: agent.port, from: address, path: `${LISTING}${name}`, connections });

  async function beBusy(name: string): Promise<void> {
    const pod = await cluster.world.pod({ namespace: 'team', name, role: name });
    while (!done.signal.aborted) {
      const { status } = await ask(pod);
      loadRequests += 1;
      if (status !== 200) loadRefusals += 1;
    }
  }

  /** From the event to the beginning of the first request that was refused. */
  async function untilRefused(pod: WorldPod, revoke: () => void): Promise<number> {
    // The first answer is a server's, the second is the memory's.
    for (let time = 0; time < 2; time += 1) assert.equal((await ask(pod)).status, 200);
    revoke();
    const revokedMs = performance.now();
    for (;;) {
      const askedMs = performance.now();
      if ((await ask(pod)).status !== 200) return askedMs - revokedMs;
      assert.ok(askedMs - revokedMs < 10_000, 'it is still answered after 10 s');
    }
  }

  const annotation = (role: string | null) => ({ metadata: { annotations: { 'iam.amazonaws.com/role': role } } });
  const ways: readonly (readonly [string, (pod: WorldPod) => void])[] = [
    ['by its annotation', ({ namespace, name }) => cluster.world.api.patchPod(namespace, name, annotation(null))],
    ['by its namespace', ({ namespace }) => cluster.world.namespace(namespace)],
    ['by its end', ({ namespace, name }) => cluster.world.api.removePod(namespace, name)],
  ];
  for (const [what, revoke] of ways) {
    it(`a role that is taken from a pod ${what} is refused at the agent within a second, among busy neighbours`, async (t) => {
      const times: number[] = [];
      for (let first = 0; first < EVENTS; first += TOGETHER) {
        const measuring = Array.from({ length: TOGETHER }, async (_, index) => {
          const name = `pod-${what.split(' ').at(-1)}-${first + index}`;
          cluster.world.namespace(name, '.*');
          const pod = await cluster.world.pod({ namespace: name, name, role: name });
          return untilRefused(pod, () => revoke(pod));
        });
        times.push(...(await Promise.all(measuring)));
      }
      const { text, p99 } = distribution(times);
      t.diagnostic(text);
      assert.ok(p99 <= LIMIT_MS, text);
    });
  }

  it('a role that is taken from a pod is no neighbour’s loss', (t) => {
    t.diagnostic(`${loadRequests} requests of neighbours, ${loadRefusals} refused`);
    assert.ok(loadRequests > 1000);
    assert.equal(loadRefusals, 0);
  });
});
