import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';

import type { Child } from '#sandbox/child.ts';

import { AGENT_SERVES, createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { type Said, startSdk } from '../support/running-sdk.ts';
import { findSdk, SDK_NAMES } from '../support/sdk-programs.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();
/** KIAM_SDKS=javascript-v3,boto3 runs these alone. */
const wanted = process.env['KIAM_SDKS']?.split(',') ?? SDK_NAMES;

/** What an SDK says where it finds no credentials. */
const NO_CREDENTIALS =
  /could not load credentials|missing credentials|unable to locate credentials|NoCredentials|no EC2 IMDS role found/i;
const NO_CREDENTIALS_LIMIT_MS = 2000;
/** A command's start counts as well. */
const START_LIMIT_MS = 3000;

const rows: string[] = [];

describe('a stock SDK with nothing configured', { skip }, () => {
  let node: KernelNode;
  let server: Child;
  let agent: Child;
  const placeOf = (address: string) => ({ world: node.world, podExec: node.podExec(address) });
  const startAgent = async (...flags: readonly string[]): Promise<void> => {
    agent = node.startAgent({ flags });
    await agent.line(AGENT_SERVES);
    await agent.line(/"msg":"a server answers"/);
  };
  before(async () => {
    node = await createKernelNode({ label: 'sdks', backend: 'nft' });
    node.world.namespace('team', '.*');
    await node.world.pod({ namespace: 'team', name: 'plain' });
    server = await node.startServer();
    await startAgent();
  });
  after(async (t) => {
    await node?.remove();
    for (const row of rows) (t as TestContext).diagnostic(row);
  });

  for (const name of wanted) {
    test(name, async (t) => {
      const sdk = await findSdk(name);
      if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
      const pod = await node.world.pod({ namespace: 'team', name, role: `team/${name}` });
      const plain = '198.18.1.2';
      const arn = `arn:aws:sts::${node.world.accountId}:assumed-role/${name}/kiam-kiam`;
      const note = (what: string, { tookMs, arn: is, error }: Said): void => {
        rows.push(`${name.padEnd(14)} ${what.padEnd(38)} ${tookMs.toFixed(0).padStart(6)} ms  ${is ?? error}`);
      };

      const first = await startSdk(t, placeOf(pod.address), sdk);
      const said = await first.said();
      note('first call', said);
      assert.equal(said.arn, arn, said.error);

      const v2Only = await startSdk(t, placeOf(pod.address), sdk, { AWS_EC2_METADATA_V1_DISABLED: 'true' });
      const strict = await v2Only.said();
      note('AWS_EC2_METADATA_V1_DISABLED=true', strict);
      assert.equal(strict.arn, arn, strict.error);

      const none = await (await startSdk(t, placeOf(plain), sdk)).said();
      note('a pod without a role', none);
      assert.match(none.error ?? '', NO_CREDENTIALS);
      const limitMs = NO_CREDENTIALS_LIMIT_MS + (sdk.isCommand === true ? START_LIMIT_MS : 0);
      assert.ok(none.tookMs < limitMs, `${none.tookMs} ms; the agent:\n${agent.lines.slice(-15).join('\n')}`);

      await server.stop('SIGKILL');
      const restarted = node.startServer();
      const without = await first.again();
      note('while the server restarts', without);
      server = await restarted;
      assert.equal(without.arn, arn, without.error);

      await agent.stop('SIGTERM');
      await startAgent('--require-imdsv2');
      const before = await startSdk(t, placeOf(pod.address), sdk, { AWS_EC2_METADATA_V1_DISABLED: 'true' });
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
