import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { Child } from '#sandbox/child.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { LISTING } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { askFromPod } from '../support/pod-request.ts';

const skip = await networkSkip();
const ATTEMPTS = 20;

describe('a pod on a bridge that takes the address of its neighbour', { skip }, () => {
  let node: KernelNode;
  let agent: Child;
  let victim: WorldPod;
  let thief: WorldPod;

  before(async () => {
    node = await createKernelNode({ label: 'sp', backend: 'nft', topology: 'bridge' });
    node.world.namespace('team', '.*');
    victim = await node.world.pod({ namespace: 'team', name: 'victim', role: 'victim' });
    thief = await node.world.pod({ namespace: 'team', name: 'thief', role: 'thief' });
    await node.startServer();
    agent = node.startAgent();
    await node.intercepts(agent);
    await agent.line(/the server streams what the pods of this node may have/);
  });

  after(() => node.remove());

  const roleOf = async ({ address }: WorldPod): Promise<string> => {
    const { status, body } = await askFromPod(node.podExec(address), LISTING);
    return `${status} ${body}`;
  };
  const inThief = async (...command: readonly string[]): Promise<void> => {
    const outcome = await runCommand([...node.podExec(thief.address), 'ip', ...command]);
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.reason);
  };

  it('a pod on a bridge that takes the address of its neighbour gets nothing of a neighbour that was served before, which is served on when it has its address back', async (t) => {
    for (const pod of [victim, thief]) {
      await eventually('both have their own', 10_000, async () => (await roleOf(pod)) === `200 ${pod.name}`);
    }
    await inThief('addr', 'add', `${victim.address}/24`, 'dev', 'eth0');
    await inThief('route', 'replace', 'default', 'via', '198.18.1.1', 'src', victim.address);
    const answers: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await inThief('neigh', 'flush', 'all');
      answers.push(await roleOf(thief));
      answers.push((await askFromPod(node.podExec(thief.address), `${LISTING}victim`)).body);
    }
    t.diagnostic(`${answers.length} requests in the neighbour's name: ${[...new Set(answers)].join(' | ')}`);
    assert.deepEqual(
      answers.filter((answer) => /^200|AccessKeyId/.test(answer)),
      [],
    );
    assert.ok(
      answers.some((answer) => answer.startsWith('503')),
      'some of them reached the agent',
    );
    await agent.line(/does not come from its interface/);
    await inThief('addr', 'del', `${victim.address}/24`, 'dev', 'eth0');
    // Until the node's kernel asks again who has the address, it sends the victim's packets to the thief.
    await node.onNode('ip', 'neigh', 'flush', 'all');
    await eventually('the victim is served on', 10_000, async () => (await roleOf(victim)) === '200 victim');
  });
});
