import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainSessions } from '#domain/attribution.ts';
import { identityOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import { Prefetch } from '#server/prefetch.ts';
import { settle } from '../../support/manual-clock.ts';
import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { cacheWorld, IMPATIENT, PATIENT, role } from '../aws/cache-world.ts';

const EVERY_NODE = { has: () => true, subscribe: () => () => {} };

function manyPods(count: number, roleCount: number): Map<string, PodRecord> {
  const pods = new Map<string, PodRecord>();
  for (let index = 0; index < count; index += 1) {
    pods.set(`${index}`, podRecord({ uid: `${index}`, name: `pod-${index}`, role: `role-${index % roleCount}` }));
  }
  return pods;
}

test('10,000 pods of 500 roles at once: 500 calls, none dropped, all warm in time, and a pod that asks overtakes', async (t) => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  const pods = manyPods(10_000, 500);
  const prefetch = new Prefetch({
    pods: { byUid: (uid) => pods.get(uid), pods: () => pods.values(), subscribe: () => () => {} },
    namespaces: { subscribe: () => () => {} },
    credentials: cache,
    identify: (pod) => identityOf(pod, role(pod.role).roleArn, plainSessions('kiam')),
    nodes: EVERY_NODE,
    index: { podsOn: () => new Set() },
    fetchers: 8,
    clock,
    logger: recordingLogger().logger,
  });
  while (sts.calls.length < 8) await settle();
  // The last role of all, which the fetchers reach after six seconds.
  const askedMs = clock.monotonic();
  const asking = cache.get(role('role-499'), 'request', PATIENT).then(() => clock.monotonic() - askedMs);
  const limitMs = (500 * 100 * 1.2) / 8;
  let warmMs = 0;
  while (prefetch.pending > 0 && warmMs <= limitMs) {
    await clock.advance(100);
    warmMs += 100;
  }
  const waitedMs = await asking;
  t.diagnostic(
    `${sts.calls.length} calls, warm after ${warmMs} ms (limit ${limitMs} ms), who asked waited ${waitedMs} ms`,
  );
  assert.ok(warmMs <= limitMs);
  assert.equal(sts.calls.length, 500);
  assert.equal(waitedMs, 100);
  for (let index = 0; index < 500; index += 1) {
    assert.equal((await cache.get(role(`role-${index}`), 'request', IMPATIENT)).ok, true);
  }
  prefetch.close();
});

test('a burst of 10,000 pods leaves the event loop to others between small portions', async (t) => {
  using world = cacheWorld();
  const pods = manyPods(10_000, 10_000);
  const seen = { inTurn: 0, most: 0, all: 0, longestTurnMs: 0 };
  const prefetch = new Prefetch({
    pods: { byUid: (uid) => pods.get(uid), pods: () => pods.values(), subscribe: () => () => {} },
    namespaces: { subscribe: () => () => {} },
    credentials: world.cache,
    identify: (pod) => {
      seen.all += 1;
      seen.inTurn += 1;
      seen.most = Math.max(seen.most, seen.inTurn);
      return identityOf(pod, role(pod.role).roleArn, plainSessions('kiam'));
    },
    nodes: EVERY_NODE,
    index: { podsOn: () => new Set() },
    fetchers: 8,
    clock: world.clock,
    logger: recordingLogger().logger,
  });
  assert.equal(seen.all, 0, 'the watch is not held up');
  let previousMs = performance.now();
  while (seen.all < 10_000) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.longestTurnMs = Math.max(seen.longestTurnMs, performance.now() - previousMs);
    previousMs = performance.now();
    seen.inTurn = 0;
  }
  const startedMs = performance.now();
  await world.clock.advance(1000);
  t.diagnostic(
    `at most ${seen.most} pods in a turn, longest turn ${seen.longestTurnMs.toFixed(1)} ms; telling the cache, and 10 calls on: ` +
      `${(performance.now() - startedMs).toFixed(1)} ms`,
  );
  assert.ok(seen.most <= 400);
  prefetch.close();
});
