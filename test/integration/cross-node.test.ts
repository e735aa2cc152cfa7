import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';

const NODES = [
  { name: 'node-a', address: '127.0.0.1' },
  { name: 'node-b', address: '127.0.0.2' },
];
const PODS_PER_NODE = 5;
const NOBODY = '127.1.255.1';

describe('an agent answers for the pods of its own node alone', () => {
  let cluster: Cluster;
  let agents = 0;
  const podsOf = new Map<string, WorldPod[]>();

  before(async () => {
    const mayReview = { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] };
    cluster = await startCluster({ nodes: NODES, serverRules: [...SERVER_RULES, mayReview] });
    cluster.world.namespace('team', '.*');
    for (const { name: nodeName } of NODES) {
      const pods: WorldPod[] = [];
      for (let count = 1; count <= PODS_PER_NODE; count += 1) {
        const name = `${nodeName}-${count}`;
        pods.push(await cluster.world.pod({ namespace: 'team', name, role: name, nodeName }));
      }
      podsOf.set(nodeName, pods);
    }
  });

  after(() => cluster.close());

  /** A file with the token that the kubelet projects into the agent's pod on a node. */
  async function tokenFile(
    nodeName: string,
    { hostNetwork = true, audience = 'kiam-server', serviceAccount = 'kiam-agent', status = {} } = {},
  ): Promise<string> {
    agents += 1;
    const name = `agent-${agents}`;
    const pod = await cluster.world.pod({ namespace: 'kube-system', name, nodeName, hostNetwork });
    cluster.world.api.patchPod('kube-system', name, { status });
    const token = cluster.world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount,
      audiences: [audience],
      pod: { name, uid: pod.uid },
    });
    const path = join(cluster.world.folder, `${name}.token`);
    await writeFile(path, token);
    return path;
  }

  /** How many of these pods are answered with a role's name or credentials. */
  async function answered(agent: Daemon, pods: readonly WorldPod[]): Promise<number> {
    const answers = await Promise.all(
      pods.flatMap(({ address, name }) =>
        ['', name].map((role) => askHttp({ port: agent.port, from: address, path: `${LISTING}${role}` })),
      ),
    );
    return answers.filter(({ status }) => status === 200).length;
  }

  for (const store of ['--node-store', '--no-node-store']) {
    it(`an agent answers for the pods of its own node alone with a token for each of two agents (${store})`, async (t) => {
      const server = await cluster.startServer({ flags: ['--agent-identity=token'] });
      const [here, there] = await Promise.all(
        NODES.map(async ({ name }) =>
          cluster.startAgent(server.port, { flags: [store, `--agent-token-file=${await tokenFile(name)}`] }),
        ),
      );
      assert.ok(here !== undefined && there !== undefined);
      const onA = podsOf.get('node-a') ?? [];
      const onB = podsOf.get('node-b') ?? [];
      const own = (await answered(here, onA)) + (await answered(there, onB));
      const others = (await answered(here, onB)) + (await answered(there, onA));
      t.diagnostic(`of its own node ${own} of ${4 * PODS_PER_NODE} requests answered, of the other's ${others}`);
      assert.deepEqual([own, others], [4 * PODS_PER_NODE, 0]);
      const [stranger] = onB;
      const [other, nobody] = await Promise.all(
        [stranger?.address, NOBODY].map((from) => askHttp({ port: here.port, from: from ?? '', path: LISTING })),
      );
      assert.deepEqual(
        [other?.status, other?.body],
        [nobody?.status, nobody?.body],
        'it does not tell that there is a pod',
      );
      await Promise.all([here.child.stop(), there.child.stop(), server.child.stop()]);
    });
  }

  it('an agent answers for the pods of its own node alone: without a token, with one for somebody else, of another account or of a pod that has its own network, for none', async () => {
    const server = await cluster.startServer({ flags: ['--agent-identity=token'] });
    const files = [
      undefined,
      await tokenFile('node-a', { audience: 'https://kubernetes.default.svc' }),
      await tokenFile('node-a', { serviceAccount: 'default' }),
      await tokenFile('node-a', { hostNetwork: false }),
    ];
    for (const file of files) {
      const agent = await cluster.startAgent(server.port, {
        flags: file === undefined ? [] : [`--agent-token-file=${file}`],
      });
      assert.equal(await answered(agent, podsOf.get('node-a') ?? []), 0, file);
      await agent.child.stop();
    }
    await server.child.stop();
  });

  it('an agent answers for the pods of its own node alone with the token of an account that the server is told of', async () => {
    const account = '--agent-service-account=system:serviceaccount:kube-system:ours';
    const server = await cluster.startServer({ flags: ['--agent-identity=token', account] });
    const flag = `--agent-token-file=${await tokenFile('node-a', { serviceAccount: 'ours' })}`;
    const agent = await cluster.startAgent(server.port, { flags: [flag] });
    assert.equal(await answered(agent, podsOf.get('node-a') ?? []), 2 * PODS_PER_NODE);
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  it('an agent answers for the pods of its own node alone, whatever the node’s kubelet says of its agent’s address, and of pods that it makes up', async () => {
    const { api } = cluster.world;
    const onB = podsOf.get('node-b') ?? [];
    const status = { phase: 'Running', hostIP: '127.0.0.2', hostIPs: [{ ip: '127.0.0.2' }] };
    const server = await cluster.startServer({ flags: ['--agent-identity=token'] });
    const flag = `--agent-token-file=${await tokenFile('node-a', { status })}`;
    const here = await cluster.startAgent(server.port, { flags: [flag] });
    const there = await cluster.startAgent(server.port, {
      flags: [`--agent-token-file=${await tokenFile('node-b')}`, '--no-node-store'],
    });
    const made = { namespace: 'team', address: '127.1.250.1', name: 'made-up' };
    const mirror = (name: string, podIP: string): void => {
      api.putPod({
        metadata: {
          namespace: made.namespace,
          name,
          annotations: { 'iam.amazonaws.com/role': made.name, 'kubernetes.io/config.mirror': 'x' },
        },
        spec: { nodeName: 'node-a', containers: [{ name: 'main', image: 'app' }] },
        status: { ...status, podIP, podIPs: [{ ip: podIP }] },
      });
    };
    mirror('made-up', made.address);
    for (const [index, { address }] of onB.entries()) mirror(`rival-${index}`, address);
    assert.equal(await answered(there, onB), 2 * PODS_PER_NODE, 'the other node’s pods are served there');
    assert.equal(await answered(here, onB), 0, 'and not here');
    const answer = await askHttp({ port: here.port, from: made.address, path: `${LISTING}made-up` });
    assert.equal(answer.status, 503);
    await Promise.all([here.child.stop(), there.child.stop(), server.child.stop()]);
  });

  it('an agent answers for the pods of its own node alone by the second address of a dual-stack node', async () => {
    const { api } = cluster.world;
    const onA = podsOf.get('node-a') ?? [];
    const status = { hostIP: '2001:db8::a', hostIPs: [{ ip: '2001:db8::a' }, { ip: '127.0.0.1' }] };
    for (const { name } of onA) api.patchPod('team', name, { status });
    const server = await cluster.startServer({ flags: ['--agent-identity=host-ip'] });
    const agent = await cluster.startAgent(server.port);
    assert.equal(await answered(agent, onA), 2 * PODS_PER_NODE);
    assert.equal(await answered(agent, podsOf.get('node-b') ?? []), 0);
    await Promise.all([agent.child.stop(), server.child.stop()]);
  });

  for (const mode of ['auto', 'host-ip']) {
    it(`an agent answers for the pods of its own node alone by the address that it calls from (${mode})`, async () => {
      const server = await cluster.startServer({ flags: [`--agent-identity=${mode}`] });
      const agent = await cluster.startAgent(server.port);
      assert.equal(await answered(agent, podsOf.get('node-a') ?? []), 2 * PODS_PER_NODE);
      assert.equal(await answered(agent, podsOf.get('node-b') ?? []), 0);
      await Promise.all([agent.child.stop(), server.child.stop()]);
    });
  }
});
