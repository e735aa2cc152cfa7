import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, it } from 'node:test';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

describe('an agent that is told what its pods may have', () => {
  let cluster: Cluster;
  let server: Daemon;
  let agent: Daemon;

  before(async () => {
    cluster = await startCluster();
    cluster.world.namespace('team', '.*');
    // A server knows a node by its pods.
    await cluster.world.pod({ namespace: 'team', name: 'resident' });
    server = await cluster.startServer();
    agent = await cluster.startAgent(server.port);
    await agent.child.line(/the server streams what the pods of this node may have/);
  });

  const kept = new Agent({ keepAlive: true, maxSockets: 1 });

  after(async () => {
    kept.destroy();
    await cluster.close();
  });

  /** By the connection that the pod keeps open: no kernel shows here who it is, so each new one is asked about. */
  const ask = (from: string, path: string) => askHttp({ port: agent.port, from, path, connections: kept });
  const askAnew = (from: string, path: string) => askHttp({ port: agent.port, from, path });
  const answersFrom = async (from: string): Promise<number> =>
    Number(new RegExp(`kiam_agent_answers_total\\{from="${from}"\\} (\\d+)`).exec(await agent.metrics())?.[1] ?? 0);
  const calls = async (): Promise<number> => {
    const counts = [...(await agent.metrics()).matchAll(/grpc_client_started_total\{.*GetPod\w+"\} (\d+)/g)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  };

  it('an agent that is told what its pods may have asks a server for the first answer of a pod, and gives the others from memory', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    const first = await ask(pod.address, `${LISTING}reader`);
    assert.equal(first.status, 200, first.body);
    await eventually('answers come from memory', 10_000, async () => {
      const before = await calls();
      const again = await ask(pod.address, `${LISTING}reader`);
      assert.equal(again.body, first.body);
      return (await calls()) === before;
    });
    const before = await calls();
    for (const path of [LISTING, `${LISTING}reader`, '/latest/meta-data/iam/info']) {
      assert.equal((await ask(pod.address, path)).status, 200);
    }
    assert.equal(await calls(), before);
    assert.ok((await answersFrom('memory')) >= 3);
    const account = {
      port: agent.port,
      from: pod.address,
      path: `${LISTING}reader`,
      headers: { 'x-amzn-extended': '1' },
    };
    assert.match(await agent.metrics(), /kiam_metadata_tokenless_requests_total\{namespace="team"\} [1-9]/);
    for (const connections of [kept, undefined]) {
      const extended = await askHttp({ ...account, ...(connections === undefined ? {} : { connections }) });
      assert.match(extended.body, /"AccountId":"\d{12}"/);
    }
  });

  it('an agent that is told what its pods may have asks a server once for each connection of which the kernel shows nothing', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'anew', role: 'anew' });
    await eventually('answers come from memory', 10_000, async () => {
      const before = await calls();
      assert.equal((await ask(pod.address, `${LISTING}anew`)).status, 200);
      return (await calls()) === before;
    });
    const before = await calls();
    const reads = (): number => cluster.world.api.controls.requests('get', 'pods');
    const readsBefore = reads();
    for (let count = 0; count < 10; count += 1) {
      assert.equal((await askAnew(pod.address, `${LISTING}anew`)).status, 200);
      assert.equal((await ask(pod.address, `${LISTING}anew`)).status, 200);
    }
    assert.equal((await calls()) - before, 10);
    assert.equal(reads() - readsBefore, 10);
  });

  it('an agent that is told what its pods may have is told of a changed role, and gives the old one no more', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'changing', role: 'before' });
    assert.equal((await ask(pod.address, LISTING)).body, 'before');
    cluster.world.api.patchPod('team', 'changing', {
      metadata: { annotations: { 'iam.amazonaws.com/role': 'after' } },
    });
    await eventually('the new role is listed', 5000, async () => (await ask(pod.address, LISTING)).body === 'after');
    assert.equal((await ask(pod.address, `${LISTING}before`)).status, 403);
    assert.equal((await ask(pod.address, `${LISTING}after`)).status, 200);
  });

  it('an agent that is told what its pods may have is told that a namespace permits no longer', async () => {
    cluster.world.namespace('fickle', '.*');
    const pod = await cluster.world.pod({ namespace: 'fickle', name: 'reader', role: 'reader' });
    await eventually(
      'the pod has its role',
      5000,
      async () => (await ask(pod.address, `${LISTING}reader`)).status === 200,
    );
    cluster.world.namespace('fickle');
    await eventually('it is refused', 5000, async () => (await ask(pod.address, `${LISTING}reader`)).status === 403);
  });

  it('an agent that is told what its pods may have asks once in three seconds at most for what policy refuses, and at once when the namespace permits it', async () => {
    cluster.world.namespace('strict', 'arn:aws:iam::1:role/nobody');
    const pod = await cluster.world.pod({ namespace: 'strict', name: 'refused', role: 'refused' });
    const answer = (role: string) => ask(pod.address, `${LISTING}${role}`);
    await eventually('it is refused', 5000, async () => (await answer('refused')).status === 403);
    const before = await calls();
    const beganMs = performance.now();
    for (let count = 0; count < 100; count += 1) {
      const { status, body } = await answer(count % 2 === 0 ? 'refused' : `other-${count}`);
      assert.deepEqual([status, body], [403, 'error fetching credentials: forbidden by policy\n']);
    }
    const most = 8 * Math.ceil((performance.now() - beganMs) / 3000 + 1);
    assert.ok((await calls()) - before <= most, `${(await calls()) - before} calls for 100 refusals`);
    cluster.world.namespace('strict', '.*');
    const permittedMs = await eventually(
      'the pod has its role',
      5000,
      async () => (await answer('refused')).status === 200,
    );
    assert.ok(permittedMs < 2500, `${permittedMs} ms`);
  });

  it('an agent that is told what its pods may have is told that a pod has gone, and gives its address nothing', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'leaving', role: 'reader' });
    assert.equal((await ask(pod.address, LISTING)).status, 200);
    cluster.world.api.removePod('team', 'leaving');
    await eventually('it has nothing', 5000, async () => (await ask(pod.address, LISTING)).status === 503);
  });

  it('an agent that is told what its pods may have serves on while every server is down, and is ready again when one is back', async () => {
    const pod = await cluster.world.pod({ namespace: 'team', name: 'steady', role: 'steady' });
    await eventually('answers come from memory', 10_000, async () => {
      const before = await calls();
      assert.equal((await ask(pod.address, `${LISTING}steady`)).status, 200);
      return (await calls()) === before;
    });
    await server.child.stop('SIGKILL');
    await agent.child.line(/the stream from the server is lost/);
    for (let attempt = 0; attempt < 20; attempt += 1) {
      assert.equal((await ask(pod.address, `${LISTING}steady`)).status, 200);
      // Nobody can be asked about a new one, and the pod was confirmed just now.
      assert.equal((await askAnew(pod.address, `${LISTING}steady`)).status, 200);
    }
  });
});
