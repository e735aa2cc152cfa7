import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, it, type TestContext } from 'node:test';

import type { RoleBehaviour } from '#sandbox/sts/behaviour.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ServiceRelay, startServiceRelay } from '../support/service-relay.ts';

const PODS = 8;

describe('two servers are replaced one by one, and nothing but their word ties addresses to pods', () => {
  let cluster: Cluster;
  let relay: ServiceRelay;
  let agent: Daemon;
  const servers: Daemon[] = [];
  const pods: WorldPod[] = [];
  const kept = new Agent({ keepAlive: true });

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    for (let count = 1; count <= PODS; count += 1) {
      pods.push(await cluster.world.pod({ namespace: 'team', name: `pod-${count}`, role: `pod-${count}` }));
    }
    relay = await startServiceRelay();
    await startServer(0);
    await startServer(1);
    agent = await cluster.startAgent(relay.port, { flags: ['--pod-rate=0'] });
  });

  after(async () => {
    kept.destroy();
    await cluster.close();
    await relay.close();
  });

  async function startServer(index: number): Promise<void> {
    servers[index] = await cluster.startServer();
    relay.use(servers.map(({ port }) => port));
  }

  /** Of each pod, on a connection of its own or on one that is kept. */
  const ask = (isKept: boolean): Promise<Answer[]> =>
    Promise.all(
      pods.map(({ address: from, name }) =>
        askHttp({
          port: agent.port,
          from,
          path: `${LISTING}${name}`,
          ...(isKept ? { connections: kept } : {}),
        }),
      ),
    );
  const isServed = ({ status }: Answer): boolean => status === 200;

  /** Replaces both under load; every answer must be a 200 with credentials of the pod's own role. */
  async function replaceAll(t: TestContext, behaviour: RoleBehaviour, afterwardsMs: number): Promise<void> {
    await eventually('all are warm', 30_000, async () => [...(await ask(true)), ...(await ask(false))].every(isServed));
    // The second server may have fetched them for a stream that it does not have: the agent holds them all the same.
    await eventually('the agent holds them all', 30_000, async () => {
      const asked = await askedOfServer();
      await ask(true);
      return (await askedOfServer()) === asked;
    });
    cluster.world.sts.everywhere(behaviour);
    const stop = new AbortController();
    const answers: Answer[] = [];
    const asking = [true, false].map(async (isKept) => {
      while (!stop.signal.aborted) {
        answers.push(...(await ask(isKept)));
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    });
    for (const index of [0, 1]) {
      const exit = await servers[index]?.child.stop('SIGTERM');
      assert.equal(exit?.code, 0);
      await startServer(index);
    }
    await new Promise((resolve) => setTimeout(resolve, afterwardsMs));
    stop.abort();
    await Promise.all(asking);
    cluster.world.sts.everywhere({});
    const failures = answers
      .filter((answer) => !isServed(answer))
      .map(({ status, body }) => `${status} ${body.trim()}`);
    const slowestMs = Math.max(...answers.map(({ tookMs }) => tookMs));
    t.diagnostic(`${answers.length} requests, ${failures.length} failed, ${Math.round(slowestMs)} ms at most`);
    assert.deepEqual(failures, []);
  }

  const askedOfServer = async (): Promise<number> =>
    Number(/kiam_agent_answers_total\{from="server"\} (\d+)/.exec(await agent.metrics())?.[1] ?? 0);

  it('two servers are replaced one by one, and nothing but their word ties addresses to pods: while STS fails: every warm pod is served all the time', (t) =>
    replaceAll(t, { fail: true }, 8000));

  it('two servers are replaced one by one, and nothing but their word ties addresses to pods: while STS takes 1.5 s for each answer: every warm pod is served all the time', (t) =>
    replaceAll(t, { delayMs: 1500 }, 4000));

  it('two servers are replaced one by one, and nothing but their word ties addresses to pods: while STS throttles: every warm pod is served all the time', (t) =>
    replaceAll(t, { throttle: true }, 4000));
});
