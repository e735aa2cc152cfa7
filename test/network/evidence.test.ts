import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import type { Evidence } from '#agent/ports.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import { createNetwork, type Network, type PodNamespace } from '#sandbox/network/network.ts';

import { networkSkip } from '../support/network-world.ts';

const skip = await networkSkip();
const PROGRAM = fileURLToPath(new URL('../support/evidence-process.ts', import.meta.url));
const HAND_OVERS = 50;
const HANDED_OVER = '198.18.1.7';
const STAYING = '198.18.1.9';

/** Lets the node's kernel learn of a pod, as any packet of it does. */
async function speak({ exec }: PodNamespace): Promise<void> {
  const outcome = await runCommand([...exec, 'bash', '-c', 'exec 3<>/dev/tcp/198.18.0.1/9 || true']);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.reason);
}

for (const topology of ['routed', 'bridge'] as const) {
  describe(`the kernel's evidence of who has an address, pods ${topology}`, { skip }, () => {
    let network: Network;
    let read: (address: string) => Promise<{ evidence: Evidence; tookUs: number }>;
    let stop: () => void;

    before(async () => {
      network = await createNetwork({ pid: process.pid, label: `e${topology[0]}`, topology });
      const [program, ...args] = [...network.node.exec, process.execPath, PROGRAM];
      const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      read = async (address) => {
        child.send(address);
        const [answer] = await once(child, 'message');
        return answer as { evidence: Evidence; tookUs: number };
      };
      stop = () => child.kill('SIGKILL');
    });

    after(async () => {
      stop();
      await network.remove();
    });

    const keyOf = async (address: string): Promise<string> => {
      const { evidence } = await read(address);
      return evidence.kind === 'interface' ? evidence.key : `none: ${evidence.reason}`;
    };

    it(`the kernel's evidence of who has an address, pods ${topology} changes in ${HAND_OVERS} of ${HAND_OVERS} hand-overs of an address, and stays for a pod that stays`, async (t) => {
      await speak(await network.addPod(STAYING));
      const staying = await keyOf(STAYING);
      assert.doesNotMatch(staying, /^none/);
      const seen = new Set<string>();
      for (let round = 0; round < HAND_OVERS; round += 1) {
        const pod = await network.addPod(HANDED_OVER);
        await speak(pod);
        const key = await keyOf(HANDED_OVER);
        assert.doesNotMatch(key, /^none/, `round ${round}`);
        assert.equal(await keyOf(HANDED_OVER), key, 'the same pod, the same evidence');
        seen.add(key);
        assert.equal(await keyOf(STAYING), staying, `round ${round}`);
        await network.removePod(HANDED_OVER);
        assert.match(await keyOf(HANDED_OVER), /^none/, 'nobody has it');
      }
      assert.equal(seen.size, HAND_OVERS);
      const costs: number[] = [];
      for (let look = 0; look < 200; look += 1) costs.push((await read(STAYING)).tookUs);
      costs.sort((a, b) => a - b);
      t.diagnostic(
        `${HAND_OVERS} hand-overs, ${seen.size} keys; a look costs ${costs[100]?.toFixed(0)} us (median of 200)`,
      );
    });

    it(`the kernel's evidence of who has an address, pods ${topology} is not that of the former pod when the next one has the address, before it has said a word`, async () => {
      await speak(await network.addPod(HANDED_OVER));
      const former = await keyOf(HANDED_OVER);
      await network.removePod(HANDED_OVER);
      await network.addPod(HANDED_OVER);
      assert.notEqual(await keyOf(HANDED_OVER), former);
      await network.removePod(HANDED_OVER);
    });

    it(`the kernel's evidence of who has an address, pods ${topology} is none for an address that is nobody’s, or the node’s own`, async () => {
      for (const address of ['198.18.1.200', '198.18.0.1', '198.18.0.10', '203.0.113.1', 'fd00:198:18:1::dead']) {
        assert.match(await keyOf(address), /^none/, address);
      }
    });

    it(`the kernel's evidence of who has an address, pods ${topology} stays while the neighbour grows old and is learned again`, async () => {
      const pod = await network.addPod('198.18.1.11');
      await speak(pod);
      const key = await keyOf('198.18.1.11');
      assert.doesNotMatch(key, /^none/);
      await runCommand([...network.node.exec, 'ip', 'neigh', 'flush', 'all']);
      await speak(pod);
      assert.equal(await keyOf('198.18.1.11'), key);
    });

    if (topology === 'routed') {
      it(`the kernel's evidence of who has an address, pods ${topology} is told for IPv6 as well`, async () => {
        const pod = await network.addPod('198.18.1.12');
        assert.match(await keyOf(pod.address6), new RegExp(`^${pod.nodeInterface} \\d+ \\d+$`));
      });

      it(`the kernel's evidence of who has an address, pods ${topology} is none where one interface serves two addresses`, async () => {
        const { nodeInterface } = await network.addPod('198.18.1.13');
        await runCommand([...network.node.exec, 'ip', 'route', 'add', '198.18.1.14/32', 'dev', nodeInterface]);
        assert.match(await keyOf('198.18.1.13'), /^none/);
      });
    }
  });
}
