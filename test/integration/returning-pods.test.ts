import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';

import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** Longer than the server takes to notice that an identity has lost its last pod. */
const BETWEEN_RUNS_MS = 2500;

describe('a pod that comes back with the identity of one that is gone', () => {
  let cluster: Cluster;
  let agent: Daemon;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    const server = await cluster.startServer();
    agent = await cluster.startAgent(server.port);
  });

  after(() => cluster.close());

  /** On a busy machine a request may not be answered in time, and is made again. */
  const ask = async (from: string, role: string): Promise<Answer> => {
    let answer: Answer | undefined;
    for (let attempt = 0; attempt < 10 && (answer === undefined || answer.body.includes('in time')); attempt += 1) {
      answer = await askHttp({ port: agent.port, from, path: `${LISTING}${role}` });
    }
    return answer ?? assert.fail();
  };
  const calls = (role: string): number => cluster.world.sts.calls.list(`${cluster.world.roleBaseArn}${role}`).length;
  const run = async (role: string, name: string): Promise<Answer> => {
    const pod = await cluster.world.pod({ namespace: 'team', name, role });
    const answer = await ask(pod.address, role);
    cluster.world.api.removePod('team', name);
    return answer;
  };

  it('a pod that comes back with the identity of one that is gone gets the set of the first: six runs of one CronJob are one call of AssumeRole', async () => {
    const keys = new Set<string>();
    for (let index = 0; index < 6; index += 1) {
      const { status, body } = await run('job', `job-${index}`);
      assert.equal(status, 200);
      keys.add((JSON.parse(body) as Record<string, string>)['AccessKeyId'] ?? '');
      await setTimeout(BETWEEN_RUNS_MS);
    }
    assert.equal(keys.size, 1);
    assert.equal(calls('job'), 1);
  });

  it('a pod that comes back with the identity of one that is gone gets it while STS fails as well', async (t) => {
    assert.equal((await run('stateful', 'stateful-0')).status, 200);
    await setTimeout(BETWEEN_RUNS_MS);
    cluster.world.sts.everywhere({ fail: true });
    t.after(() => cluster.world.sts.everywhere({}));
    assert.equal((await run('stateful', 'stateful-0')).status, 200);
  });

  it('a pod that comes back with the identity of one that is gone gets nothing once its namespace permits the role no longer, and the set again when it does', async () => {
    assert.equal((await run('permitted', 'permitted-0')).status, 200);
    await setTimeout(BETWEEN_RUNS_MS);
    cluster.world.namespace('team', '.*:role/other');
    const pod = await cluster.world.pod({ namespace: 'team', name: 'permitted-1', role: 'permitted' });
    await eventually('the role is refused', 5000, async () => (await ask(pod.address, 'permitted')).status === 403);
    cluster.world.namespace('team', '.*');
    await eventually('the role is given', 5000, async () => (await ask(pod.address, 'permitted')).status === 200);
    assert.equal(calls('permitted'), 1);
  });
});
