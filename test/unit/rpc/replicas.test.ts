import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status } from '@grpc/grpc-js';

import type { CallResult } from '#rpc/calls.ts';
import type { CallOptions } from '#rpc/client.ts';
import type { MethodName, Methods } from '#rpc/contract.ts';
import { createGateway } from '#rpc/gateway.ts';
import { Replicas } from '#rpc/replicas.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { repeatableRandom } from '../aws/scripted-sts.ts';

const NONE = new Set<string>();
const HUNG = Number.POSITIVE_INFINITY;

/** Replicas that answer after so many milliseconds, as the client sees them. */
class ScriptedReplicas {
  readonly clock = new ManualClock();
  readonly replicas = new Replicas(this.clock, () => 0);
  readonly latencyMs: Map<string, number>;
  /** Which replica each call went to. */
  readonly calls: string[] = [];
  #underWay = 0;
  mostUnderWay = 0;

  constructor(latencyMs: Readonly<Record<string, number>>) {
    this.latencyMs = new Map(Object.entries(latencyMs));
    this.replicas.update(new Set(this.latencyMs.keys()), [...this.latencyMs.keys()]);
  }

  readonly hasOther = (tried: ReadonlySet<string>): boolean => this.replicas.hasOther(tried);

  readonly call = <M extends MethodName>(
    _method: M,
    _request: Methods[M]['request'],
    { timeoutMs, tried = new Set() }: CallOptions,
  ): Promise<CallResult<Methods[M]['response']>> => {
    const name = this.replicas.choose(tried) ?? '';
    this.calls.push(name);
    tried.add(name);
    const ended = this.replicas.asked(name);
    this.#underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.#underWay);
    const latencyMs = this.latencyMs.get(name) ?? HUNG;
    return new Promise((resolve) => {
      this.clock.after(Math.min(latencyMs, timeoutMs), () => {
        const isAnswered = latencyMs <= timeoutMs;
        this.#underWay -= 1;
        ended(isAnswered);
        if (isAnswered) resolve({ ok: true, response: { name: 'reader', uid: '', role_arn: '', view_age_ms: 0 } });
        else resolve({ ok: false, code: status.DEADLINE_EXCEEDED, details: '', metadata: new Metadata() });
      });
    });
  };

  /** Pods that ask one question after another, with a pause between; how many ended in failure, and how long each took. */
  async load({ pods, pauseMs, durationMs }: { pods: number; pauseMs: number; durationMs: number }) {
    const { clock } = this;
    const gateway = createGateway({ client: this, clock, waitMs: 900, random: repeatableRandom() });
    const endMs = clock.monotonic() + durationMs;
    let failed = 0;
    const tookMs: number[] = [];
    for (let pod = 0; pod < pods; pod += 1) {
      void (async () => {
        await new Promise<void>((resolve) => clock.after(pod * 7, resolve));
        while (clock.monotonic() < endMs) {
          const fromMs = clock.monotonic();
          const outcome = await gateway.podRole(`192.0.2.${pod}`, { check: 'read-unless-recent' });
          tookMs.push(clock.monotonic() - fromMs);
          if (!outcome.ok) failed += 1;
          await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
        }
      })();
    }
    await clock.advance(durationMs + 1000);
    return {
      failed,
      asked: tookMs.length,
      slowestMs: Math.max(...tookMs),
      slow: tookMs.filter((ms) => ms > 200).length,
    };
  }
}

function askedOf(calls: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of calls) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe('the replicas of a server', () => {
  it('the replicas of a server take turns while all of them answer', async () => {
    const world = new ScriptedReplicas({ a: 2, b: 2, c: 2 });
    const { failed } = await world.load({ pods: 3, pauseMs: 10, durationMs: 3000 });
    assert.equal(failed, 0);
    const counts = Object.values(askedOf(world.calls));
    assert.equal(counts.length, 3);
    assert.ok(Math.max(...counts) - Math.min(...counts) < world.calls.length / 10, JSON.stringify(counts));
  });

  it('the replicas of a server are begun with at random, so that the agents of a cluster spread over them', () => {
    const first = (random: number): string | undefined => {
      const replicas = new Replicas(new ManualClock(), () => random);
      replicas.update(new Set(['a', 'b', 'c']), ['a', 'b', 'c']);
      return replicas.choose(NONE);
    };
    assert.deepEqual(new Set([0, 0.001, 0.002].map(first)), new Set(['a', 'b', 'c']));
  });

  it('the replicas of a server are asked according to how many calls each has in progress', async () => {
    const world = new ScriptedReplicas({ slow: 150, fast: 10 });
    await world.load({ pods: 8, pauseMs: 1, durationMs: 3000 });
    const { slow = 0, fast = 0 } = askedOf(world.calls);
    assert.ok(fast > 5 * slow, `${fast} and ${slow}`);
  });

  for (const pods of [1, 8, 64]) {
    it(`the replicas of a server answer ${pods} pods within 500 ms while one of three hangs`, async () => {
      const world = new ScriptedReplicas({ a: 5, b: HUNG, c: 5 });
      const { failed, asked, slowestMs, slow } = await world.load({ pods, pauseMs: 80, durationMs: 15_000 });
      assert.equal(failed, 0);
      assert.ok(asked > 100 * pods, `${asked} questions`);
      assert.ok(slowestMs < 500 + pods * 2, `${slowestMs} ms`);
      assert.ok(slow < asked / 50, `${slow} of ${asked} waited for the second replica`);
    });
  }

  it('the replicas of a server answer within the time even while two of three hang', async () => {
    const world = new ScriptedReplicas({ a: HUNG, b: HUNG, c: 5 });
    const { failed, slowestMs } = await world.load({ pods: 8, pauseMs: 80, durationMs: 10_000 });
    assert.equal(failed, 0);
    assert.ok(slowestMs < 600, `${slowestMs} ms`);
  });

  it('the replicas of a server are asked few questions twice when all of them are slow', async () => {
    const world = new ScriptedReplicas({ a: 700, b: 700, c: 700 });
    const { failed } = await world.load({ pods: 100, pauseMs: 0, durationMs: 7000 });
    assert.equal(failed, 0);
    assert.equal(world.mostUnderWay, 116);
  });

  it('the replicas of a server are asked no question twice when there is only one', async () => {
    const world = new ScriptedReplicas({ only: 700 });
    const { failed, asked } = await world.load({ pods: 5, pauseMs: 0, durationMs: 7000 });
    assert.equal(failed, 0);
    assert.equal(world.calls.length, asked);
  });

  it('the replicas of a server are asked again when they are back', async () => {
    const world = new ScriptedReplicas({ a: 5, b: HUNG, c: 5 });
    await world.load({ pods: 8, pauseMs: 80, durationMs: 3000 });
    world.latencyMs.set('b', 5);
    await world.clock.advance(5000);
    world.calls.length = 0;
    await world.load({ pods: 8, pauseMs: 80, durationMs: 3000 });
    const { a = 0, b = 0, c = 0 } = askedOf(world.calls);
    assert.ok(b > (a + c) / 4, `${a}, ${b} and ${c}`);
  });

  it('the replicas of a server keep a question from one that it has been to, whatever is known of the others', async () => {
    const { replicas, clock } = new ScriptedReplicas({ a: 0, b: 0 });
    replicas.asked('b');
    await clock.advance(5000);
    assert.equal(replicas.choose(NONE), 'a');
    assert.equal(replicas.choose(new Set(['a'])), 'b');
    assert.ok(replicas.choose(new Set(['a', 'b'])) !== undefined, 'better one of them than none');
    assert.equal(replicas.hasOther(new Set(['a', 'b'])), false);
  });

  it('the replicas of a server come after the others once a stream of theirs went silent, for a while', async () => {
    const { replicas, clock } = new ScriptedReplicas({ a: 0, b: 0 });
    replicas.foundSilent('a');
    const choices = () => new Set(Array.from({ length: 6 }, () => replicas.choose(NONE)));
    assert.deepEqual(choices(), new Set(['b']));
    await clock.advance(5000);
    assert.deepEqual(choices(), new Set(['a', 'b']));
  });

  it('the replicas of a server are forgotten when they are no longer among the addresses', async () => {
    const { replicas, clock } = new ScriptedReplicas({ a: 0, b: 0 });
    replicas.asked('a');
    await clock.advance(1000);
    assert.equal(replicas.choose(NONE), 'b');
    replicas.update(new Set(['b']), ['b']);
    replicas.update(new Set(['a', 'b']), ['a', 'b']);
    assert.deepEqual(new Set([replicas.choose(NONE), replicas.choose(NONE)]), new Set(['a', 'b']));
  });

  it('the replicas of a server share calls evenly after any history of calls, losses and returns, once all calls have ended', async () => {
    const random = repeatableRandom();
    for (let history = 0; history < 200; history += 1) {
      const { replicas, clock } = new ScriptedReplicas({ a: 0, b: 0, c: 0 });
      const underWay: ((isAnswered: boolean) => void)[] = [];
      for (let step = 0; step < 60; step += 1) {
        const kind = random();
        if (kind < 0.5) underWay.push(replicas.asked(replicas.choose(NONE) ?? 'a'));
        else if (kind < 0.75) underWay.splice(Math.floor(random() * underWay.length), 1)[0]?.(random() < 0.8);
        else if (kind < 0.85) await clock.advance(random() * 1000);
        else {
          const known = ['a', 'b', 'c'].filter(() => random() < 0.7);
          const connected = known.filter(() => random() < 0.8);
          replicas.update(new Set(known), connected);
        }
      }
      for (const ended of underWay) ended(random() < 0.8);
      replicas.update(new Set(['a', 'b', 'c']), ['a', 'b', 'c']);
      await clock.advance(10_000);
      // Each of these calls stays in progress: they go where the fewest are.
      const chosen = Array.from({ length: 30 }, () => {
        const name = replicas.choose(NONE) ?? '';
        replicas.asked(name);
        return name;
      });
      assert.deepEqual(askedOf(chosen), { a: 10, b: 10, c: 10 }, `history ${history}`);
    }
  });

  it('the replicas of a server are none while nothing is connected', () => {
    const replicas = new Replicas(new ManualClock());
    assert.equal(replicas.choose(NONE), undefined);
    assert.equal(replicas.hasOther(NONE), false);
  });
});
