import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';

import { LISTING } from '../support/cluster.ts';
import { AGENT_SERVES, createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { askFromPod } from '../support/pod-request.ts';

const skip = await networkSkip();
const V4 = '169.254.169.254';
const V6 = 'fd00:ec2::254';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

for (const [backend, other] of [
  ['nft', 'legacy'],
  ['legacy', 'nft'],
] as const) {
  describe(`kiam agent --uninstall on a node of iptables-${backend}`, { skip }, () => {
    it(`kiam agent --uninstall on a node of iptables-${backend} takes redirect, guard and backstop away, those of older agents too, and nothing of others`, async (t) => {
      const node = await createKernelNode({ label: `u${backend}`, backend });
      t.after(() => node.remove());
      node.world.namespace('team', '.*');
      const { address } = await node.world.pod({ namespace: 'team', name: 'pod' });
      const exec = node.podExec(address);
      const asked = async (): Promise<number[]> =>
        Promise.all([V4, V6].map(async (service) => (await askFromPod(exec, LISTING, service)).status));
      const before = await allRules(node);

      const agent = node.startAgent();
      await agent.line(AGENT_SERVES);
      await agent.line(/"rule":"backstop","family":"ipv6"/);
      await agent.stop('SIGKILL');
      assert.deepEqual(await asked(), [0, 0], 'the rules outlive the agent');
      const ours = node.network.node.address;
      // Of an agent with another interface, before the node changed its backend, and of another program.
      await redirect(node, `iptables-${other}`, ours, 3100);
      await node.onNode(
        ...`iptables-${other} -A FORWARD -d ${V4} -i eni+ -m comment --comment kiam-guard -j REJECT`.split(' '),
      );
      await redirect(node, `iptables-${backend}`, ours, 8282);
      await node.onNode(...`iptables-${backend} -A FORWARD -d ${V4} -s 192.0.2.1 -j REJECT`.split(' '));

      assert.deepEqual(await node.uninstall(), { code: 0, signal: null });
      const left = (await allRules(node)).filter((rule) => !before.includes(rule));
      assert.equal(left.length, 2, left.join('\n'));
      assert.match(left.join('\n'), /--to-destination \S+:8282/);
      assert.match(left.join('\n'), /-s 192\.0\.2\.1\/32/);
      await node.onNode(`iptables-${backend}`, '-t', 'nat', '-F', 'PREROUTING');
      assert.deepEqual(await asked(), [200, 200], 'pods reach the role of their node, as without Kiam');
      assert.deepEqual(await node.uninstall([]), { code: 0, signal: null }, 'nothing is left to do');
    });
  });
}

async function redirect(node: KernelNode, command: string, address: string, port: number): Promise<void> {
  const match = `-d ${V4} -i eni+ -p tcp -m tcp --dport 80`;
  const rule = `-t nat -A PREROUTING ${match} -j DNAT --to-destination ${address}:${port}`;
  await node.onNode(command, ...rule.split(' '));
}

/** Every rule of both backends and both families, with its backend. */
async function allRules(node: KernelNode): Promise<string[]> {
  const commands = ['nft', 'legacy'].flatMap((kind) => [`iptables-${kind}`, `ip6tables-${kind}`]);
  const texts = await Promise.all(
    commands.map(async (command) => (await node.onNode(`${command}-save`)).replaceAll(/^-A/gm, `${command} -A`)),
  );
  return texts.flatMap((text) => text.split('\n')).filter((line) => line.includes(' -A '));
}
