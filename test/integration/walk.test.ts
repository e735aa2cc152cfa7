import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';

describe('a pod asks for its credentials', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', 'arn:aws:iam::123456789012:role/.*');
    cluster.world.namespace('closed');
    server = await cluster.startServer();
    agent = await cluster.startAgent(server.port);
  });

  after(() => cluster.close());

  const ask = (from: string, path: string) => askHttp({ port: agent.port, from, path });

  it('a pod asks for its credentials and gets those of its role, which STS itself confirms', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    const listing = await ask(pod.address, LISTING);
    assert.deepEqual([listing.status, listing.body], [200, 'reader']);
    const answer = await ask(pod.address, `${LISTING}reader`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/json');
    const credentials = JSON.parse(answer.body) as Record<string, string>;
    assert.equal(credentials['Code'], 'Success');
    assert.equal(
      cluster.world.sts.identify(credentials['AccessKeyId'] ?? '')?.arn,
      'arn:aws:sts::123456789012:assumed-role/reader/kiam-kiam',
    );
  });

  it('a pod asks for its credentials and is refused another role, with an Event on the pod', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'writer', role: 'writer' });
    const answer = await ask(pod.address, `${LISTING}reader`);
    assert.deepEqual([answer.status, answer.body], [403, 'error fetching credentials: forbidden by policy\n']);
  });

  it('a pod asks for its credentials and is refused its own role where the namespace does not permit it', async () => {
    const pod = await cluster.world.pod({ namespace: 'closed', name: 'reader', role: 'reader' });
    const answer = await ask(pod.address, `${LISTING}reader`);
    assert.equal(answer.status, 403);
  });

  it('a pod asks for its credentials and is told at once that it has none', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'no-role' });
    const answer = await ask(pod.address, LISTING);
    assert.deepEqual([answer.status, answer.body], [404, 'empty role\n']);
    assert.ok(answer.tookMs < 500, `${answer.tookMs} ms`);
  });

  it('a pod asks for its credentials before the server knows it, and gets them when it does', async () => {
    cluster.world.api.controls.holdDelivery('pods');
    const pod = await cluster.world.pod({ namespace: 'team', name: 'early', role: 'early' });
    const asking = ask(pod.address, LISTING);
    cluster.world.api.controls.releaseDelivery('pods');
    assert.equal((await asking).status, 200);
  });

  it('an address that is no pod’s gets nothing, as late as from Kiam', async () => {
    const answer = await ask('127.9.9.9', LISTING);
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
    assert.ok(answer.tookMs >= 5000, `${answer.tookMs} ms`);
  });
});
