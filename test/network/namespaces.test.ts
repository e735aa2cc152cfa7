import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';

import { runCommand } from '#sandbox/network/commands.ts';
import { sweepLeftovers } from '#sandbox/network/namespaces.ts';
import { createNetwork } from '#sandbox/network/network.ts';

import { eventually } from '../support/eventually.ts';
import { type Probe, startProbe } from '../support/network-probe.ts';
import { networkSkip } from '../support/network-world.ts';

const skip = await networkSkip();

describe('network namespaces', { skip }, () => {
  for (const topology of ['routed', 'bridge'] as const) {
    test(`${topology}: pods reach the world, each other and the node, in both families`, async (t) => {
      const network = await createNetwork({ pid: process.pid, label: 'reach', topology, hostLinks: true });
      t.after(() => network.remove());
      const [first, second] = [await network.addPod('198.18.1.2'), await network.addPod('198.18.1.254')];
      const [asking, listening, node, world, host] = await startProbes(t, [
        first.exec,
        second.exec,
        network.node.exec,
        network.metadata.exec,
        ['env'],
      ]);
      for (const [probe, name] of [
        [listening, 'pod'],
        [node, 'node'],
        [world, 'world'],
      ] as const) {
        await probe?.listen('::', 80, name);
      }
      const answers: [address: string, answer: string][] = [
        [second.address, 'pod for ::ffff:198.18.1.2'],
        [second.address6, 'pod for fd00:198:18:1::2'],
        [network.node.address, 'node for ::ffff:198.18.1.2'],
        [network.metadata.address, 'world for ::ffff:198.18.1.2'],
        ['169.254.169.254', 'world for ::ffff:198.18.1.2'],
        ['fd00:ec2::254', 'world for fd00:198:18:1::2'],
      ];
      for (const [address, expected] of answers) {
        assert.deepEqual(await asking?.get(address, 80, 3000), { ok: true, body: expected }, address);
      }
      const links = network.host;
      assert.ok(links !== undefined);
      for (const [link, name] of [
        [links.node, 'node'],
        [links.metadata, 'world'],
      ] as const) {
        const expected = { ok: true, body: `${name} for ::ffff:${link.hostAddress}` };
        assert.deepEqual(await host?.get(link.peerAddress, 80), expected);
      }
    });

    test(`${topology}: an address is handed over at once, to another interface`, async (t) => {
      const network = await createNetwork({ pid: process.pid, label: 'reuse', topology });
      t.after(() => network.remove());
      const inodes = new Set<string>();
      for (let turn = 0; turn < 3; turn += 1) {
        const pod = await network.addPod('198.18.1.7');
        await assert.rejects(network.addPod('198.18.1.7'), /there is a pod/);
        const [probe] = await startProbes(t, [pod.exec]);
        const answer = await probe?.get(network.node.address, 81);
        assert.deepEqual(answer, { ok: false, error: 'ECONNREFUSED' }, 'it reaches the node');
        const path = `/sys/class/net/${pod.nodeInterface}`;
        const inode = await runCommand([...network.node.exec, 'stat', '--dereference', '--format=%i', path]);
        assert.ok(inode.ok);
        inodes.add(inode.output);
        await network.removePod('198.18.1.7');
      }
      assert.equal(inodes.size, 3);
    });
  }

  test('nothing is left behind, by either way to remove, and twice does no harm', async () => {
    for (const way of ['remove', 'removeSync'] as const) {
      const network = await createNetwork({ pid: process.pid, label: way, topology: 'routed', hostLinks: true });
      await network.addPod('198.18.1.2');
      const inside = spawn('ip', ['netns', 'exec', network.node.namespace, 'sleep', '100'], { stdio: 'ignore' });
      const exited = once(inside, 'exit');
      await eventually('it is inside', 5000, async () => {
        const pids = await runCommand(['ip', 'netns', 'pids', network.node.namespace]);
        return pids.ok && pids.output.split('\n').includes(String(inside.pid));
      });
      await network[way]();
      await network[way]();
      await exited;
      assert.deepEqual(await leftovers(`kiam-${process.pid}-${way}`), []);
      const links = await runCommand(['ip', '-o', 'link', 'show']);
      assert.ok(links.ok && !links.output.includes(network.host?.node.hostInterface ?? 'no interface'));
    }
  });

  test('what a run that was killed leaves behind goes with the next sweep, and what lives stays', async (t) => {
    // It lives until both are built: another test may sweep at any time.
    const child = spawn('sleep', ['100'], { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    await createNetwork({ pid, label: 'dead', topology: 'bridge' });
    const living = await createNetwork({ pid: process.pid, label: 'living', topology: 'bridge' });
    t.after(() => living.remove());
    assert.equal((await leftovers(`kiam-${pid}-dead`)).length, 2);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await sweepLeftovers();
    assert.deepEqual(await leftovers(`kiam-${pid}-`), []);
    assert.equal((await leftovers(`kiam-${process.pid}-living`)).length, 2);
  });

  test('a network that cannot be built takes nothing of another with it', async (t) => {
    const options = { pid: process.pid, label: 'same', topology: 'routed' } as const;
    const network = await createNetwork(options);
    t.after(() => network.remove());
    await assert.rejects(createNetwork(options), /File exists/);
    assert.equal((await leftovers(`kiam-${process.pid}-same`)).length, 2);
    await assert.rejects(network.addPod('198.18.2.1'), /not between/);
  });
});

async function leftovers(start: string): Promise<string[]> {
  const listed = await runCommand(['ip', 'netns', 'list']);
  assert.ok(listed.ok);
  return listed.output.split('\n').filter((line) => line.startsWith(start));
}

async function startProbes(
  t: { after(task: () => Promise<unknown>): void },
  prefixes: readonly (readonly string[])[],
): Promise<Probe[]> {
  const probes = await Promise.all(prefixes.map(startProbe));
  t.after(() => Promise.all(probes.map((probe) => probe.stop())));
  return probes;
}
