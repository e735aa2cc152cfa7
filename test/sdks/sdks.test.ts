import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';

import type { Child } from '#sandbox/child.ts';

import { type KernelNode, START_LIMIT_MS } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { type RunningSdk, type Said, startSdk } from '../support/running-sdk.ts';
import { createSdkNode, type SdkNode } from '../support/sdk-node.ts';
import { findSdk, WANTED_SDKS } from '../support/sdk-programs.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();

const V2_ONLY = { AWS_EC2_METADATA_V1_DISABLED: 'true' };

const rows: string[] = [];

describe('a stock SDK with nothing configured', { skip }, () => {
  let sdks: SdkNode;
  let node: KernelNode;
  let server: Child;
  let agent: Child;
  const startAgent = async (...flags: readonly string[]): Promise<void> => {
    agent = node.startAgent({ flags });
    await node.intercepts(agent);
    await agent.line(/"msg":"a server answers"/, START_LIMIT_MS);
  };
  before(async () => {
    sdks = await createSdkNode('sdks');
    ({ node } = sdks);
    node.world.namespace('team', '.*');
    await node.world.pod({ namespace: 'team', name: 'plain' });
    server = await node.startServer();
    await startAgent();
  });
  after(async (t) => {
    await sdks?.remove();
    for (const row of rows) (t as TestContext).diagnostic(row);
  });

  for (const name of WANTED_SDKS) {
    test(name, async (t) => {
      const sdk = await findSdk(name);
      if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
      const pod = await node.world.pod({ namespace: 'team', name, role: `team/${name}` });
      const plain = '198.18.1.2';
      const arn = `arn:aws:sts::${node.world.accountId}:assumed-role/${name}/kiam-kiam`;
      const note = (what: string, { tookMs, arn: is, error }: Said): void => {
        rows.push(`${name.padEnd(14)} ${what.padEnd(38)} ${tookMs.toFixed(0).padStart(6)} ms  ${is ?? error}`);
      };

      const start = (address: string, more: Readonly<Record<string, string>> = {}): Promise<RunningSdk> =>
        startSdk(t, { world: node.world, podExec: node.podExec(address) }, sdk, { ...sdks.environment, ...more });
      const first = await start(pod.address);
      const said = await first.said();
      note('first call', said);
      assert.equal(said.arn, arn, said.error);

      const v2Only = await start(pod.address, V2_ONLY);
      const strict = await v2Only.said();
      note('AWS_EC2_METADATA_V1_DISABLED=true', strict);
      assert.equal(strict.arn, arn, strict.error);

      const none = await (await start(plain)).said();
      note('a pod without a role', none);
      assert.equal(none.arn, undefined);

      await server.stop('SIGKILL');
      const restarted = node.startServer();
      const without = await first.again();
      note('while the server restarts', without);
      server = await restarted;
      assert.equal(without.arn, arn, without.error);

      if (sdk.isTokenless === true) return;
      await agent.stop('SIGTERM');
      await startAgent('--require-imdsv2');
      const before = await start(pod.address, V2_ONLY);
      assert.equal((await before.said()).arn, arn);
      await agent.stop('SIGTERM');
      await startAgent('--require-imdsv2');
      const renewed = await before.again();
      note('tokens of the agent before, v2 required', renewed);
      assert.equal(renewed.arn, arn, renewed.error);
      await agent.stop('SIGTERM');
      await startAgent();

      assert.deepEqual(node.strangers(), [], 'nobody but the node asks the real metadata service');
    });
  }
});
