import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createCredentialCacheMetrics } from '#aws/metrics.ts';
import type { CredentialInspection } from '#domain/credentials.ts';
import { createStsMetrics } from '#telemetry/kiam-metrics.ts';
import { Registry } from 'prom-client';

import { askPatiently, cacheWorld, live, type CacheWorld, IMPATIENT, role } from './cache-world.ts';
import type { Behaviour } from './scripted-sts.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const READER = role('reader');
const UNKNOWN: CredentialInspection = {
  held: undefined,
  failure: undefined,
  isCalling: false,
  next: undefined,
  isPaused: false,
  calls: 0,
};

/** Runs until the next call to STS has begun, a second at a time; undefined when none comes within an hour. */
async function untilNextCall({ clock, sts }: CacheWorld): Promise<number | undefined> {
  const before = sts.calls.length;
  const startMs = clock.monotonic();
  while (sts.calls.length === before) {
    if (clock.monotonic() - startMs > 60 * MINUTE_MS) return undefined;
    await clock.advance(100);
  }
  return clock.monotonic() - startMs;
}

describe('an inspection of the credential cache', () => {
  it('an inspection of the credential cache knows nothing of an identity that nobody has asked for, and asks nobody', async () => {
    using world = cacheWorld();
    assert.deepEqual(world.cache.inspect(READER), UNKNOWN);
    await world.clock.advance(MINUTE_MS);
    assert.deepEqual([world.cache.inspect(READER), world.sts.calls.length], [UNKNOWN, 0]);
  });

  it('an inspection of the credential cache says what is left of a set, and holds no part of it', async () => {
    using world = cacheWorld();
    const issuedAtMs = world.clock.now() + world.sts.latencyMs;
    await askPatiently(world, READER);
    const { held, failure, isCalling } = world.cache.inspect(READER);
    assert.deepEqual(held, {
      isServed: true,
      issuedAtMs,
      expiresAtMs: issuedAtMs + 60 * MINUTE_MS,
      remainingMs: 60 * MINUTE_MS - 800,
    });
    assert.deepEqual([failure, isCalling], [undefined, false]);
    assert.doesNotMatch(JSON.stringify(world.cache.inspect(READER)), /ASIA|SECRET|TOKEN/);
  });

  it('an inspection of the credential cache counts the calls of an identity, and says how fast STS is called', async () => {
    using world = cacheWorld();
    const free = { limit: 128, inFlight: 0, waiting: 0, paused: false, callsPerSecond: null };
    assert.deepEqual(world.cache.pace, free);
    await askPatiently(world, READER);
    assert.equal(world.cache.inspect(READER).calls, 1);
    world.sts.behave = () => 'throttled';
    const refused = await askPatiently(world, role('writer'));
    assert.ok(!refused.ok);
    assert.deepEqual([world.cache.inspect(READER).calls, world.cache.inspect(role('writer')).calls], [1, 1]);
    assert.deepEqual(world.cache.pace, { ...free, limit: 4, callsPerSecond: 10 });
  });

  for (const [what, first, then] of [
    ['a renewal', 'well', 'well'],
    ['another try to renew', 'well', 'unavailable'],
    ['another try after what passes', 'throttled', 'throttled'],
  ] as const satisfies readonly (readonly [string, Behaviour, Behaviour])[]) {
    it(`an inspection of the credential cache knows when ${what} is made`, async () => {
      using world = cacheWorld();
      world.sts.behave = () => (world.sts.calls.length === 0 ? first : then);
      await askPatiently(world, READER);
      for (let round = 0; round < 4; round += 1) {
        const { next } = world.cache.inspect(READER);
        assert.ok(next?.isAutomatic === true);
        const afterMs = await untilNextCall(world);
        assert.ok(afterMs !== undefined && afterMs >= next.inMs, `${afterMs} ms instead of ${next.inMs}`);
        // It is the sweep that looks, once a second; trouble of STS as a whole can hold the call back for longer.
        const { isPaused } = world.cache.inspect(READER);
        assert.ok(isPaused || afterMs <= next.inMs + 1100, `${afterMs} ms instead of ${next.inMs}`);
        assert.equal(world.cache.inspect(READER).isCalling, true);
        await world.clock.advance(world.sts.latencyMs);
      }
    });
  }

  it('an inspection of the credential cache knows that a refused role is asked for again only for a pod that asks', async () => {
    using world = cacheWorld();
    world.sts.behave = () => 'denied';
    await askPatiently(world, READER);
    const { next, failure, held } = world.cache.inspect(READER);
    assert.ok(next?.isAutomatic === false && next.inMs > 0 && next.inMs <= 2000);
    assert.equal(held, undefined);
    assert.deepEqual([failure?.category, failure?.code, failure?.count], ['denied', 'AccessDenied', 1]);
    assert.equal(failure?.agoMs, 800);
    assert.equal(await untilNextCall(world), undefined);
    await askPatiently(world, READER);
    assert.equal(world.cache.inspect(READER).failure?.count, 2);
  });

  it('an inspection of the credential cache knows a set that has ended from one that is served', async () => {
    using world = cacheWorld();
    await askPatiently(world, READER);
    world.sts.behave = () => 'denied';
    await world.clock.advance(59 * MINUTE_MS + SECOND_MS);
    const { held } = world.cache.inspect(READER);
    assert.equal(held?.isServed, false);
    assert.equal((await world.cache.get(READER, 'request', IMPATIENT)).ok, false);
  });

  it('an inspection of the credential cache changes nothing: a cache that is looked at all the time calls and counts like one that is not', async () => {
    const runs = await Promise.all(
      [true, false].map(async (isLookedAt) => {
        const registry = new Registry();
        const options = { kiamMetrics: createStsMetrics(registry), metrics: createCredentialCacheMetrics(registry) };
        using world = cacheWorld(options);
        world.sts.behave = ({ roleArn }) => (roleArn.endsWith('denied') ? 'denied' : 'well');
        const identities = ['a', 'b', 'denied'].map(role);
        for (const identity of identities) await askPatiently(world, identity);
        world.cache.retain(live(...identities.slice(1)));
        for (let second = 0; second < 4000; second += 1) {
          if (isLookedAt) for (const identity of identities) world.cache.inspect(identity);
          await world.clock.advance(SECOND_MS);
        }
        return { calls: world.sts.calls, metrics: await registry.metrics() };
      }),
    );
    assert.deepEqual(runs[0], runs[1]);
    assert.ok((runs[0]?.calls.length ?? 0) > 4);
  });
});
