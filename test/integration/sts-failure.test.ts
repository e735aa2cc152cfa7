import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';

describe('a new pod whose first call of AssumeRole STS answers with a failure of its own', () => {
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
});
