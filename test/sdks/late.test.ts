import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test, type TestContext } from 'node:test';

import { ROLE_ANNOTATION } from '#domain/pod.ts';

import { AGENT_SERVES, createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { startSdk } from '../support/running-sdk.ts';
import { findSdk, SDK_NAMES } from '../support/sdk-programs.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();
const wanted = process.env['KIAM_SDKS']?.split(',') ?? SDK_NAMES;

/** How long after a client's first packet its pod becomes known, and whether every client must then have succeeded. */
const DELAYS = [
  { knownAfterMs: 300, mustSucceed: true },
  { knownAfterMs: 800, mustSucceed: true },
  { knownAfterMs: 1500, mustSucceed: true },
  { knownAfterMs: 3000, mustSucceed: false },
] as const;
const STS_DELAY_MS = 200;
/** A runtime's start counts as well. */
const FIRST_PACKET_LIMIT_MS = 20_000;
const LOOK_MS = 2;

const rows: string[] = [];

describe('a stock SDK whose pod becomes known after it has asked', { skip }, () => {
  let node: KernelNode;
  let agentPid = 0;
  let nextAddress = 100;

  before(async () => {
    node = await createKernelNode({ label: 'late', backend: 'nft' });
    node.world.namespace('team', '.*');
    node.world.sts.everywhere({ delayMs: STS_DELAY_MS });
    await node.startServer();
    const agent = node.startAgent();
    await agent.line(AGENT_SERVES);
    await agent.line(/"msg":"a server answers"/);
    agentPid = agent.process.pid ?? 0;
  });
  after(async (t) => {
    await node?.remove();
    const title = ['known after', ...DELAYS.map(({ knownAfterMs }) => `${knownAfterMs} ms`.padStart(18))];
    for (const row of [title.join(' '), ...rows]) (t as TestContext).diagnostic(row);
  });

  /** Resolves when the address has a connection in the node's network, which the agent's process shows. */
  const firstPacket = async (address: string): Promise<void> => {
    const hex = Buffer.from(address.split('.').map(Number).reverse()).toString('hex').toUpperCase();
    const untilMs = performance.now() + FIRST_PACKET_LIMIT_MS;
    while (performance.now() < untilMs) {
      const tables = await Promise.all(
        ['tcp', 'tcp6'].map((name) => readFile(`/proc/${agentPid}/net/${name}`, 'utf8')),
      );
      if (tables.some((table) => table.includes(`${hex}:`))) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    assert.fail(`no packet from ${address}`);
  };

  /** Tells the API server of the pod, as the kubelet does, with a role of its own that nobody has asked STS for. */
  const announce = (name: string, address: string): void => {
    const hostIP = node.network.node.address;
    node.world.api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'team', annotations: { [ROLE_ANNOTATION]: `team/${name}` } },
      spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'example.com/app' }] },
      status: { phase: 'Running', hostIP, hostIPs: [{ ip: hostIP }], podIP: address, podIPs: [{ ip: address }] },
    });
  };

  for (const name of wanted) {
    test(name, async (t) => {
      const sdk = await findSdk(name);
      if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
      const cells: string[] = [];
      for (const { knownAfterMs, mustSucceed } of DELAYS) {
        const address = `198.18.1.${nextAddress}`;
        nextAddress += 1;
        const role = `${name}-${knownAfterMs}`;
        const { exec } = await node.network.addPod(address);
        const running = await startSdk(t, { world: node.world, podExec: exec }, sdk);
        const saying = running.said();
        await firstPacket(address);
        await new Promise((resolve) => setTimeout(resolve, knownAfterMs));
        announce(role, address);
        const { arn, error, tookMs } = await saying;
        const isItsOwn = arn === `arn:aws:sts::${node.world.accountId}:assumed-role/${role}/kiam-kiam`;
        cells.push(`${isItsOwn ? 'credentials' : 'none'} ${tookMs.toFixed(0).padStart(5)}`.padStart(18));
        assert.ok(isItsOwn || arn === undefined, arn);
        if (mustSucceed) assert.ok(isItsOwn, `known after ${knownAfterMs} ms: ${error}`);
      }
      rows.push(`${name.padEnd(14)}${cells.join(' ')}`);
    });
  }
});
