import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { startDeadline } from '#runtime/within.ts';

import { ManualClock } from '../support/manual-clock.ts';
import { podRecord } from '../support/pods.ts';
import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { type Replica, startAgent, startReplica } from './daemons.ts';
import { Truth } from './truth.ts';

const PODS = 200;
const MINUTE_MS = 60_000;
/** How long a client waits for its answer. */
const WAIT_MS = 900;

/** A node full of pods before one server, by injected time. Sessions live an hour. */
function nodeOf({ hasEvidence, seed = 1 }: { readonly hasEvidence: boolean; readonly seed?: number }) {
  const clock = new ManualClock();
  const truth = new Truth(clock);
  const random = repeatableRandom(seed);
  const names = Array.from({ length: PODS }, (_, index) => `pod-${index + 1}`);
  const addressOf = new Map(names.map((name, index) => [name, `192.0.2.${index + 1}`]));
  for (const [name, address] of addressOf) {
    truth.plug(address);
    truth.put(podRecord({ uid: `uid-${name}`, name, role: `role-${name}`, addresses: [address] }));
  }
  const setting = { truth, clock, random, hasEvidence, sabotage: 'none', sessionMs: 60 * MINUTE_MS } as const;
  let replicas: Replica[] = [startReplica(setting, 0)];
  const agent = startAgent(setting, () => replicas);
  const clientAt = (address: string) => ({
    address,
    evidence: agent.readEvidence(address),
    acceptedMs: clock.monotonic(),
  });
  return {
    clock,
    agent,
    /** Lets time pass in which watches bring what is due. */
    pass: async (forMs: number): Promise<void> => {
      for (let pastMs = 0; pastMs < forMs; pastMs += 5000) {
        await clock.advance(Math.min(5000, forMs - pastMs));
        for (const { view } of replicas) view.hear();
      }
    },
    /** How many pods get their own credentials now, from new connections. */
    served: async (): Promise<number> => {
      const asking = [...addressOf].map(async ([name, address]) => {
        const client = clientAt(address);
        const role = `role-${name}`;
        const known = agent.source.knownCredentials(client, role);
        if (known !== undefined) return known.accessKeyId === role;
        const outcome = await agent.source.podCredentials(client, role, startDeadline(clock, WAIT_MS).signal);
        return outcome.ok && outcome.value.accessKeyId === role;
      });
      await clock.advance(1000);
      return (await Promise.all(asking)).filter(Boolean).length;
    },
    killServers: (): void => {
      for (const { death } of replicas) death.abort();
      replicas = [];
      truth.isApiInReach = false;
    },
    loseSts: (): void => {
      truth.isStsInReach = false;
    },
    /** Replaces the one server by two, or one of the two by another. */
    replaceServer: (index: number): void => {
      replicas[index]?.death.abort();
      replicas[index] = startReplica(setting, 0);
    },
    bringServersBack: (): void => {
      truth.isApiInReach = true;
      replicas = [startReplica(setting, 0)];
    },
    end: async (): Promise<void> => {
      agent.stop();
      for (const { death } of replicas) death.abort();
      await clock.advance(1000);
    },
  };
}

describe('200 warm pods, by injected time, while every server, STS and the API server are away', () => {
  for (const killedAfterMinutes of [1, 29, 31, 59, 118]) {
    it(`200 warm pods, by injected time, while every server, STS and the API server are away for 25 minutes, ${killedAfterMinutes} minutes after they began: all of them with the kernel's evidence`, async () => {
      const node = nodeOf({ hasEvidence: true, seed: killedAfterMinutes });
      await node.pass(1000);
      assert.equal(await node.served(), PODS);
      await node.pass(killedAfterMinutes * MINUTE_MS);
      node.killServers();
      const counts: number[] = [];
      for (let minute = 0; minute < 25; minute += 1) {
        counts.push(await node.served());
        await node.pass(MINUTE_MS - 1000);
      }
      assert.deepEqual(new Set(counts), new Set([PODS]));
      await node.end();
    });
  }

  it('200 warm pods, by injected time, while every server, STS and the API server are away: without evidence for as long as --serve-stale says, then none; and all within 30 seconds of the return', async (t) => {
    const node = nodeOf({ hasEvidence: false });
    await node.pass(MINUTE_MS);
    assert.equal(await node.served(), PODS);
    node.killServers();
    for (let second = 0; second < 26; second += 1) assert.equal(await node.served(), PODS, `after ${second} s`);
    await node.pass(5000);
    assert.equal(await node.served(), 0);
    node.bringServersBack();
    const backMs = node.clock.monotonic();
    while ((await node.served()) < PODS) assert.ok(node.clock.monotonic() - backMs < 30_000);
    t.diagnostic(`all served again ${node.clock.monotonic() - backMs} ms after the servers' return`);
    await node.end();
  });

  it("200 warm pods, by injected time, while every server, STS and the API server are away: without evidence nearly as long those that have not asked for an hour, by the servers' word on all pods", async () => {
    const node = nodeOf({ hasEvidence: false });
    await node.pass(MINUTE_MS);
    assert.equal(await node.served(), PODS);
    await node.pass(59 * MINUTE_MS);
    node.killServers();
    for (let second = 0; second < 20; second += 1) assert.equal(await node.served(), PODS, `after ${second} s`);
    await node.pass(11_000);
    assert.equal(await node.served(), 0);
    await node.end();
  });

  it('200 warm pods, by injected time, while every server, STS and the API server are away never beyond the life of their credentials', async () => {
    const node = nodeOf({ hasEvidence: true });
    await node.pass(1000);
    assert.equal(await node.served(), PODS);
    node.killServers();
    await node.pass(58 * MINUTE_MS);
    assert.equal(await node.served(), PODS);
    await node.pass(MINUTE_MS);
    assert.equal(await node.served(), 0);
    await node.end();
  });
});

describe('200 warm pods, by injected time, while two servers are replaced one by one and STS fails', () => {
  for (const hasEvidence of [true, false]) {
    it(`200 warm pods while servers are replaced and STS fails, ${hasEvidence ? 'with' : 'without'} the kernel's evidence: all are served until their credentials end`, async () => {
      const node = nodeOf({ hasEvidence });
      await node.pass(1000);
      assert.equal(await node.served(), PODS);
      // The second server never had any credentials.
      node.replaceServer(1);
      node.loseSts();
      for (const index of [0, 1, 0, 1]) {
        node.replaceServer(index);
        for (let second = 0; second < 15; second += 1) {
          assert.equal(await node.served(), PODS, `${second} s after the replacement`);
        }
        // Long enough for the stream to end and to be opened again, at either server.
        await node.pass(MINUTE_MS);
      }
      await node.pass(53 * MINUTE_MS - node.clock.monotonic());
      assert.equal(await node.served(), PODS);
      await node.pass(60 * MINUTE_MS - node.clock.monotonic());
      assert.equal(await node.served(), 0);
      await node.end();
    });
  }
});

describe('credentials that a server has renewed', () => {
  it('credentials that a server has renewed reach the agent, so that it always holds at least half of their life', async () => {
    const node = nodeOf({ hasEvidence: true });
    await node.pass(1000);
    assert.equal(await node.served(), PODS);
    const leastMs: number[] = [];
    for (let minute = 0; minute < 180; minute += 1) {
      await node.pass(MINUTE_MS);
      const pod = node.agent.store.find('192.0.2.1');
      const credentials = pod === undefined ? undefined : node.agent.store.credentialsOf(pod);
      leastMs.push((credentials?.expiresAtMs ?? 0) - node.clock.now());
    }
    assert.ok(Math.min(...leastMs) > 28 * MINUTE_MS, `${Math.min(...leastMs)} ms left`);
    assert.ok(leastMs.filter((leftMs) => leftMs > 58 * MINUTE_MS).length >= 4, 'they were renewed again and again');
    await node.end();
  });
});
