import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { Child } from '#sandbox/child.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { LISTING } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { askFromPod } from '../support/pod-request.ts';

const skip = await networkSkip();
/** [how pods are connected, whether the kernel shows whose an address is, how often one passes on] */
const NODES = [
  ['routed', true, 25],
  ['bridge', true, 25],
  ['routed', false, 10],
] as const;

/** What the agent says once where the kernel shows nothing. */
const NO_EVIDENCE = /the kernel does not show which pod has an address/;

for (const [topology, hasEvidence, handOvers] of NODES) {
  const what = `pods ${topology}, ${hasEvidence ? 'with' : 'without'} the kernel's evidence`;
  describe(`an address passes from pod to pod while the watch is late, ${what}`, { skip }, () => {
    let node: KernelNode;
    let steady: WorldPod;
    let agent: Child;

    before(async () => {
      node = await createKernelNode({
        label: `h${topology[0]}${hasEvidence ? 'e' : 'n'}`,
        backend: 'nft',
        topology,
        hidesOwners: !hasEvidence,
      });
      node.world.api.kubelet.setAddressOrder('lowest');
      node.world.namespace('team', '.*');
      steady = await node.world.pod({ namespace: 'team', name: 'steady', role: 'steady' });
      await node.startServer();
      agent = node.startAgent();
      await node.intercepts(agent);
      await agent.line(/the server streams what the pods of this node may have/);
    });

    after(() => node.remove());

    const roleIn = (body: string): string => {
      const key = /"AccessKeyId":"(\w+)"/.exec(body)?.[1];
      return key === undefined ? body : (node.world.sts.identify(key)?.roleArn ?? 'nobody').replace(/.*\//, '');
    };

    it(`an address passes from pod to pod while the watch is late, ${what}: while the watch is late, in ${handOvers} of ${handOvers} the next pod never gets what the former had, and soon what is its own`, async (t) => {
      const waits: number[] = [];
      const wrong: string[] = [];
      let steadyAsked = 0;
      const steadyFailed: string[] = [];
      const done = new AbortController();
      const polling = (async () => {
        while (!done.signal.aborted) {
          const { status, body } = await askFromPod(node.podExec(steady.address), `${LISTING}steady`);
          steadyAsked += 1;
          if (status !== 200 || roleIn(body) !== 'steady')
            steadyFailed.push(`request ${steadyAsked}: ${status} ${body}`);
          // Below what one pod may ask in a second.
          await new Promise((resolve) => {
            setTimeout(resolve, 10);
          });
        }
      })();
      t.after(() => done.abort());
      for (let round = 0; round < handOvers; round += 1) {
        const [former, next] = [`former-${round}`, `next-${round}`];
        const first = await node.world.pod({ namespace: 'team', name: former, role: former });
        // Every other former pod has asked before, so that the agent knows it.
        if (round % 2 === 0) assert.equal((await askFromPod(node.podExec(first.address), LISTING)).body, former);
        node.world.api.controls.holdDelivery('pods');
        node.world.api.removePod('team', former);
        await eventually('the former pod’s network is gone', 5000, () => node.podExec(first.address).length === 0);
        const second = await node.world.pod({ namespace: 'team', name: next, role: next });
        assert.equal(second.address, first.address);
        const exec = node.podExec(second.address);
        const early = [LISTING, `${LISTING}${former}`, `${LISTING}${next}`].map((path) => askFromPod(exec, path));
        await new Promise((resolve) => {
          setTimeout(resolve, 200);
        });
        node.world.api.controls.releaseDelivery('pods');
        const releasedMs = performance.now();
        await eventually('the next pod has its own', 5000, async () => {
          const { status, body } = await askFromPod(exec, `${LISTING}${next}`);
          return status === 200 && roleIn(body) === next;
        });
        waits.push(performance.now() - releasedMs);
        for (const { status, body } of await Promise.all(early)) {
          if (status === 200 && roleIn(body) !== next) wrong.push(`round ${round}: ${roleIn(body)}`);
        }
        node.world.api.removePod('team', next);
        await eventually('the address is free', 5000, () => node.podExec(second.address).length === 0);
      }
      done.abort();
      await polling;
      waits.sort((a, b) => a - b);
      t.diagnostic(
        `${handOvers} hand-overs: ${wrong.length} with another pod's role; own role after ${Math.round(waits.at(-1) ?? 0)} ms at most; a pod that stayed asked ${steadyAsked} times, ${steadyFailed.length} in vain`,
      );
      assert.deepEqual(wrong, []);
      assert.deepEqual(steadyFailed, []);
      assert.equal(
        agent.lines.some((line) => NO_EVIDENCE.test(line)),
        !hasEvidence,
      );
      assert.ok((waits.at(-1) ?? Infinity) < 1500, `${waits.at(-1)} ms`);
    });
  });
}
