import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';

import { type Child, startChild } from '#sandbox/child.ts';

import { ROLE } from '../support/clients-page.ts';
import { type KernelNode, START_LIMIT_MS } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { createSdkNode, firstPacket, isServed, requestsOf, type SdkNode, tableOf, timed } from '../support/sdk-node.ts';
import { findSdk, type SdkProgram, WANTED_SDKS } from '../support/sdk-programs.ts';
import { type Outcome, recordSdkResults } from '../support/sdk-results.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const skip = await networkSkip();
/** The path of Kiam's own program: with it the same is measured with Kiam's agent. */
const KIAM_PROGRAM = process.env['KIAM_PROGRAM'];

/** How long after a client's first packet its pod becomes known. */
const DELAYS_MS = [300, 800, 1500, 2000, 3000] as const;
/** Every client has credentials when its pod is known by then. */
const EVERY_CLIENT_UNTIL_MS = 800;
const STS_DELAY_MS = 200;
/** No client asks more often than this until it gives up. */
const MOST_REQUESTS = 20;

async function startAgent(node: KernelNode): Promise<Child> {
  const agent = node.startAgent({ flags: ['--level=debug'] });
  await node.intercepts(agent);
  await agent.line(/"msg":"a server answers"/, START_LIMIT_MS);
  return agent;
}

/** Kiam's agent asks a server of ours, which is the better for it: it tells at once what it knows. */
async function startKiamAgent(node: KernelNode): Promise<Child> {
  const flags = node.agentFlags().filter((flag) => !flag.startsWith('--host='));
  const own = ['agent', '--json-log', '--level=debug', `--host=${node.network.node.address}`];
  const agent = startChild({
    name: 'kiam agent',
    argv: [...node.nodeExec, KIAM_PROGRAM ?? '', ...own, ...flags],
    environment: node.world.environment.clean,
  });
  await agent.line(/"msg":"listening/, START_LIMIT_MS);
  return agent;
}

const TITLE = 'a stock SDK whose pod becomes known after it has asked';
describeLate(TITLE, 'known', startAgent);
if (KIAM_PROGRAM !== undefined) describeLate(`${TITLE}, with the agent of Kiam`, 'kiam', startKiamAgent);

function describeLate(title: string, part: 'known' | 'kiam', start: (node: KernelNode) => Promise<Child>): void {
  describe(title, { skip }, () => {
    let sdks: SdkNode;
    let agent: Child;
    const rows = new Map<string, Readonly<Record<string, Outcome>>>();

    before(async () => {
      sdks = await createSdkNode(part);
      const { node } = sdks;
      node.world.namespace('team', '.*');
      node.world.sts.everywhere({ delayMs: STS_DELAY_MS });
      await node.startServer();
      agent = await start(node);
    });
    after(async (t) => {
      await agent?.stop('SIGKILL');
      await sdks?.remove();
      for (const row of tableOf(rows)) (t as TestContext).diagnostic(row);
    });

    /** Its first call, where its pod is announced so long after its first packet. */
    const firstCall = async (
      t: TestContext,
      sdk: SdkProgram,
      knownAfterMs: number,
    ): Promise<{ readonly outcome: Outcome; readonly asked: readonly string[] }> => {
      const pod = await sdks.addPod();
      const role = `${sdk.name}-${knownAfterMs}`;
      const running = await sdks.startSdk(t, pod, sdk);
      const saying = timed(running.said());
      await firstPacket(pod.address, agent.process.pid ?? 0);
      const startedMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, knownAfterMs));
      sdks.announce(pod, role);
      const { said, atMs } = await saying;
      const served = isServed(said, sdks.node, role);
      assert.ok(served || said.arn === undefined, said.arn);
      if (!served) t.diagnostic(`known after ${knownAfterMs} ms: ${said.error}`.slice(0, 300));
      const asked = requestsOf(agent, pod.address).map((request) => request.replace(`team/${role}`, ROLE));
      return { outcome: { served, requests: asked.length, tookMs: Math.max(0, Math.round(atMs - startedMs)) }, asked };
    };

    for (const name of WANTED_SDKS) {
      test(name, async (t) => {
        const sdk = await findSdk(name);
        if ('missing' in sdk) return t.skip(`SDK NOT TESTED: ${name}: ${sdk.missing}`);
        const outcomes: Record<string, Outcome> = {};
        const asked: string[] = [];
        for (const delayMs of DELAYS_MS) {
          const { outcome, asked: now } = await firstCall(t, sdk, delayMs);
          outcomes[delayMs] = outcome;
          if (delayMs === DELAYS_MS[0]) asked.push(...new Set(now));
        }
        rows.set(name, outcomes);
        recordSdkResults(name, sdk.title, part === 'kiam' ? { kiam: outcomes } : { known: outcomes, asked });
        if (part === 'kiam') return;
        for (const [delayMs, { served, requests }] of Object.entries(outcomes)) {
          if (Number(delayMs) <= EVERY_CLIENT_UNTIL_MS) assert.ok(served, `known after ${delayMs} ms`);
          assert.ok(requests <= MOST_REQUESTS, `${requests} requests`);
        }
      });
    }
  });
}
