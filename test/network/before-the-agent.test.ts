import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, it } from 'node:test';

import { parseJsonObject, textAt } from '#sandbox/json.ts';

import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { askFromPod } from '../support/pod-request.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const NODE_ROLE = '/latest/meta-data/iam/security-credentials/node';

describe('a pod that starts before the agent of its node', { skip: await networkSkip() }, () => {
  /** The kernel of a node that has just booted: no rule is left of an earlier life. */
  const boot = async (t: { after(close: () => Promise<void>): void }, label: string) => {
    const node = await createKernelNode({ label, backend: 'nft' });
    t.after(() => node.remove());
    node.world.namespace('team', '.*');
    const { address } = await node.world.pod({ namespace: 'team', name: 'early', role: 'app' });
    const ask = () => askFromPod(node.podExec(address), NODE_ROLE);
    return { node, ask };
  };
  /** The role whose credentials an answer holds; `''` for none. */
  const roleIn = (node: KernelNode, body: string): string =>
    node.world.sts.identify(textAt(parseJsonObject(body), 'AccessKeyId'))?.roleArn ?? '';

  it('a pod that starts before the agent of its node, where nothing guards it, has the role of the node, and keeps what it got', async (t) => {
    const { node, ask } = await boot(t, 'fresh');
    const { status, body } = await ask();
    assert.equal(status, 200);
    assert.match(roleIn(node, body), /:role\/node$/);
    await node.startServer();
    const startedMs = performance.now();
    node.startAgent();
    await eventually('the way is closed', 30_000, async () => (await ask()).status !== 200);
    t.diagnostic(`closed ${Math.round(performance.now() - startedMs)} ms after the agent's start`);
    const hours = (Date.parse(textAt(parseJsonObject(body), 'Expiration')) - Date.now()) / 3_600_000;
    t.diagnostic(`the pod's copy of the node's credentials is good for ${hours.toFixed(1)} hours more`);
    assert.ok(hours > 0.9);
  });

  it('a pod that starts before the agent of its node, where user data has run the commands of the page, gets nothing, and the agent keeps those rules', async (t) => {
    const { node, ask } = await boot(t, 'commands');
    const page = await readFile(new URL('../../docs/node-readiness.md', import.meta.url), 'utf8');
    const commands = page.match(/^ +ip6?tables .*$/gm) ?? [];
    assert.equal(commands.length, 4);
    for (const command of commands) await node.onNode('sh', '-c', command.trim().replace('tables ', 'tables-nft '));
    assert.deepEqual(await ask(), { status: 0, body: '' });
    assert.deepEqual(node.strangers(), []);
    const before = await node.onNode('iptables-nft', '-S', 'FORWARD');
    const agent = node.startAgent();
    await agent.line(/"rule":"backstop","family":"ipv6","found":"missing"/);
    const placed = agent.lines.filter((line) => line.includes('"rule":"guard"'));
    assert.deepEqual(placed, []);
    assert.equal(await node.onNode('iptables-nft', '-S', 'FORWARD'), before);
  });

  it('a pod that starts before the agent of its node, where user data has run kiam agent --guard-only, gets nothing', async (t) => {
    const { node, ask } = await boot(t, 'guarded');
    const startedMs = performance.now();
    assert.deepEqual(await node.guardOnly(), { code: 0, signal: null });
    t.diagnostic(`the guard is in ${Math.round(performance.now() - startedMs)} ms after its start`);
    const askedMs = performance.now();
    assert.deepEqual(await ask(), { status: 0, body: '' });
    t.diagnostic(`refused after ${Math.round(performance.now() - askedMs)} ms`);
    assert.deepEqual(node.strangers(), []);
  });
});
