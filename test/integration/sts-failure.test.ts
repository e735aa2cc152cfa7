import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { textAt } from '#sandbox/json.ts';
import type { RoleBehaviour } from '#sandbox/sts/behaviour.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';

describe('the first call of AssumeRole for a new pod', () => {
  let cluster: Cluster;
  let agent: Daemon;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    const server = await cluster.startServer();
    agent = await cluster.startAgent(server.port);
  });

  after(() => cluster.close());

  it('a new pod whose first call of AssumeRole STS answers with a failure of its own gets its credentials at its first request', async () => {
    for (let index = 0; index < 5; index += 1) {
      const name = `unlucky-${index}`;
      const roleArn = `${cluster.world.roleBaseArn}${name}`;
      cluster.world.sts.role(roleArn, { fail: true, times: 1 });
      const pod = await cluster.world.pod({ namespace: 'team', name, role: name });
      const answer = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}${name}` });
      assert.equal(answer.status, 200, answer.body);
      assert.deepEqual(
        cluster.world.sts.calls.list(roleArn).map(({ outcome }) => outcome),
        ['InternalFailure', 'ok'],
      );
    }
  });

  const ask = async (name: string, behaviour: RoleBehaviour) => {
    const { world } = cluster;
    world.sts.role(`${world.roleBaseArn}${name}`, behaviour);
    const pod = await world.pod({ namespace: 'team', name, role: name });
    const answer = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}${name}` });
    const events = world.api.events().filter((event) => textAt(event, 'involvedObject', 'name') === name);
    return { answer, events, calls: world.sts.calls.list(`${world.roleBaseArn}${name}`).length };
  };

  it('a new pod that asks while STS takes two seconds gets its credentials at its first request, by one call, with no Event', async () => {
    const { answer, events, calls } = await ask('slow', { delayMs: 2000 });
    assert.equal(answer.status, 200, answer.body);
    assert.equal(calls, 1);
    assert.deepEqual(events, []);
  });

  it('a new pod that asks while STS does not answer is told so when it has waited as long as from Kiam', async () => {
    const { answer, calls } = await ask('hanging', { hang: true });
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
    assert.equal(answer.body, 'error fetching credentials: AWS STS did not answer in time\n');
    assert.ok(answer.tookMs >= 5000, `${answer.tookMs} ms`);
    assert.equal(calls, 1);
  });
});
