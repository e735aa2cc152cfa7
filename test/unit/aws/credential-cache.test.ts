import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { CredentialOutcome } from '#domain/credentials.ts';
import { settle } from '../../support/manual-clock.ts';
import { askPatiently, type CacheWorld, cacheWorld, IMPATIENT, live, PATIENT, role, roles } from './cache-world.ts';
import type { Behaviour } from './scripted-sts.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

test('credentials are renewed in the last twentieth before half of their life, and never fetched twice meanwhile', async () => {
  using world = cacheWorld();
  await askPatiently(world, role('a'));
  await world.clock.advance(26 * MINUTE_MS);
  assert.equal(world.sts.calls.length, 1);
  await world.clock.advance(4 * MINUTE_MS);
  assert.equal(world.sts.calls.length, 2);
});

test('a cohort that was fetched together does not come back together', async () => {
  using world = cacheWorld();
  for (const identity of roles(100)) void world.cache.get(identity, 'prefetch', PATIENT);
  await world.clock.advance(31 * MINUTE_MS);
  const renewals = world.sts.calls.slice(100).map(({ atMs }) => Math.floor(atMs / SECOND_MS));
  assert.equal(renewals.length, 100);
  const busiest = Math.max(...renewals.map((second) => renewals.filter((other) => other === second).length));
  assert.ok(busiest <= 8, `${busiest} in one second`);
});

test('a renewal before half of the life is made where the flag asks for one', async () => {
  using world = cacheWorld({ sessionRefreshMs: 50 * MINUTE_MS });
  await askPatiently(world, role('a'));
  await world.clock.advance(10 * MINUTE_MS);
  assert.equal(world.sts.calls.length, 2);
});

test('the old set is served until the new one is in', async () => {
  using world = cacheWorld();
  const first = await askPatiently(world, role('a'));
  world.sts.latencyMs = 5000;
  while (world.sts.inFlight === 0) await world.clock.advance(SECOND_MS);
  assert.deepEqual(await world.cache.get(role('a'), 'request', IMPATIENT), first);
  await world.clock.advance(6000);
  const second = await world.cache.get(role('a'), 'request', IMPATIENT);
  assert.ok(second.ok && first.ok);
  assert.notEqual(second.value.accessKeyId, first.value.accessKeyId);
});

for (const behaviour of ['unavailable', 'throttled', 'denied', 'malformed', 'hanging'] as const) {
  test(`while STS is ${behaviour} a set is served until 60 s before its end, and then no more`, async () => {
    using world = cacheWorld();
    const { cache, clock, sts } = world;
    assert.equal((await askPatiently(world, role('a'))).ok, true);
    sts.behave = () => behaviour;
    await clock.advance(HOUR_MS - MINUTE_MS - 1500);
    assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, true);
    await clock.advance(1000);
    assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, false);
  });
}

test('sessions of three minutes are renewed in time', async () => {
  using world = cacheWorld();
  world.sts.sessionMs = 3 * MINUTE_MS;
  await askPatiently(world, role('a'));
  for (let second = 0; second < 1200; second += 1) {
    await world.clock.advance(SECOND_MS);
    assert.equal((await world.cache.get(role('a'), 'request', IMPATIENT)).ok, true, `after ${second} s`);
  }
  assert.ok(world.sts.calls.length <= 1200 / 81 + 2, `${world.sts.calls.length} calls`);
});

test('identities that differ in role, session name or external id share nothing', async () => {
  using world = cacheWorld();
  const variants = [
    role('a'),
    role('b'),
    { ...role('a'), sessionName: 'x' },
    { ...role('a'), externalId: 'x' },
    { ...role('a'), sessionName: 'kiam","x' },
  ];
  const keys = new Set<string>();
  for (const identity of [...variants, ...variants]) {
    const outcome = await askPatiently(world, identity);
    assert.ok(outcome.ok);
    keys.add(outcome.value.accessKeyId);
  }
  assert.equal(keys.size, variants.length);
  assert.equal(world.sts.calls.length, variants.length);
});

test('a failure tells the pod its code and the Event its text', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'denied';
  const outcome = await askPatiently(world, role('a'));
  assert.ok(!outcome.ok);
  assert.deepEqual(outcome.failure, { kind: 'sts-refused', message: 'AWS STS refused the role: AccessDenied' });
  assert.equal(outcome.detail, 'AccessDenied: User: arn:aws:sts::1:assumed-role/kiam/1 is not authorized');
});

test('a refusal says for how long it stands yet, and trouble that may pass at any moment does not', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'denied';
  await askPatiently(world, role('a'));
  const standsForMs = async (): Promise<number> => {
    const outcome = await world.cache.get(role('a'), 'request', PATIENT);
    assert.ok(!outcome.ok);
    return outcome.failure.standsForMs ?? 0;
  };
  const atFirstMs = await standsForMs();
  assert.ok(atFirstMs > 0 && atFirstMs <= 2000, String(atFirstMs));
  await world.clock.advance(atFirstMs - 1);
  assert.equal(await standsForMs(), 1);

  world.sts.behave = () => 'unavailable';
  await askPatiently(world, role('b'));
  const trouble = await world.cache.get(role('b'), 'request', PATIENT);
  assert.ok(!trouble.ok);
  assert.equal(trouble.failure.standsForMs, undefined);
});

test('a refused role is asked for again only when a pod asks, ever more seldom up to a minute', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'denied';
  await askPatiently(world, role('a'));
  await world.clock.advance(HOUR_MS);
  assert.equal(world.sts.calls.length, 1);
  for (let second = 0; second < 3600; second += 1) {
    void world.cache.get(role('a'), 'request', PATIENT);
    await world.clock.advance(SECOND_MS);
  }
  const gaps = world.sts.calls.slice(-10).map(({ atMs }, index, calls) => atMs - (calls[index - 1]?.atMs ?? atMs));
  assert.ok(
    gaps.slice(1).every((gapMs) => gapMs >= 30 * SECOND_MS && gapMs <= 62 * SECOND_MS),
    String(gaps),
  );
});

test('one failure of STS does not fail the request: it is tried once more within the time of the pod', async () => {
  using world = cacheWorld();
  const { clock, sts } = world;
  let calls = 0;
  sts.behave = () => (calls++ === 0 ? 'unavailable' : 'well');
  const startedMs = clock.monotonic();
  const waiting = world.cache
    .get(role('a'), 'request', PATIENT)
    .then((outcome) => ({ outcome, atMs: clock.monotonic() }));
  await clock.advance(900);
  const { outcome, atMs } = await waiting;
  assert.equal(outcome.ok, true);
  assert.equal(sts.calls.length, 2);
  assert.ok(atMs - startedMs <= 2 * sts.latencyMs + 75, `${atMs - startedMs} ms`);
});

for (const [behaviour, most] of [
  ['throttled', 1],
  ['denied', 1],
  ['unavailable', 2],
] as const) {
  test(`a request for a role that is ${behaviour} is ${most === 1 ? 'one call' : 'two calls'} of STS`, async () => {
    using world = cacheWorld();
    world.sts.behave = () => behaviour;
    assert.equal((await askPatiently(world, role('a'))).ok, false);
    assert.equal(world.sts.calls.length, most);
  });
}

test('a renewal that fails is not tried twice: nobody waits for it', async () => {
  using world = cacheWorld();
  const { clock, sts } = world;
  await askPatiently(world, role('a'));
  await clock.advance(28 * MINUTE_MS);
  sts.behave = () => 'unavailable';
  while (sts.calls.length === 1) await clock.advance(100);
  await clock.advance(300);
  assert.equal(sts.calls.length, 2);
});

test('while STS fails as a whole five requests are tried twice, and no others', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'unavailable';
  for (const identity of roles(100)) void world.cache.get(identity, 'request', PATIENT);
  await world.clock.advance(900);
  assert.ok(world.sts.calls.length <= 105, `${world.sts.calls.length} calls`);
});

test('forgiving lets the next request through at once, but not with every change of a restless pod', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'denied';
  await askPatiently(world, role('a'));
  world.sts.behave = () => 'well';
  assert.equal((await world.cache.get(role('a'), 'request', PATIENT)).ok, false);
  world.cache.forgive(role('a'));
  assert.equal((await askPatiently(world, role('a'))).ok, true);

  world.sts.behave = () => 'denied';
  for (let tick = 0; tick < 600; tick += 1) {
    world.cache.forgive(role('b'));
    void world.cache.get(role('b'), 'request', PATIENT);
    await world.clock.advance(100);
  }
  const calls = world.sts.callsOf(role('b')).length;
  assert.ok(calls >= 10 && calls <= 18, `${calls} calls in a minute`);
});

test('what changes while a call is in progress is not blamed for its failure', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'denied';
  void world.cache.get(role('a'), 'request', PATIENT);
  await world.clock.advance(50);
  world.cache.forgive(role('a'));
  world.sts.behave = () => 'well';
  await world.clock.advance(60);
  assert.equal((await askPatiently(world, role('a'))).ok, true);
});

for (const behaviour of ['unavailable', 'throttled'] as const) {
  test(`a pod that changes while its prefetch is in progress, and STS is ${behaviour}: it is fetched again within seconds`, async () => {
    using world = cacheWorld();
    world.sts.behave = () => behaviour;
    void world.cache.get(role('a'), 'prefetch', PATIENT);
    await world.clock.advance(50);
    world.cache.forgive(role('a'));
    await world.clock.advance(300);
    assert.equal(world.cache.inspect(role('a')).failure?.category, behaviour);
    world.sts.behave = () => 'well';
    await world.clock.advance(3 * SECOND_MS);
    assert.equal((await world.cache.get(role('a'), 'request', IMPATIENT)).ok, true);
  });
}

test('an identity without a live pod is not renewed, is kept until its set ends, and is served to a pod that comes back', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  const first = await askPatiently(world, role('gone'));
  await askPatiently(world, role('kept'));
  cache.retain(live(role('kept')));
  await clock.advance(HOUR_MS - 2 * MINUTE_MS);
  assert.equal(sts.callsOf(role('gone')).length, 1);
  assert.ok(sts.callsOf(role('kept')).length >= 2);
  sts.behave = () => 'unavailable';
  assert.deepEqual(await cache.get(role('gone'), 'request', IMPATIENT), first, 'a pod that comes back finds it');
  cache.retain(live(role('kept')));
  await clock.advance(3 * MINUTE_MS);
  assert.equal(cache.remainingMs(role('gone')), undefined, 'what has ended is not kept');
  assert.equal(sts.callsOf(role('gone')).length, 2, 'the pod that came back had it renewed, which failed');
});

test('a set that only one pod can ever have goes with the pod', async () => {
  using world = cacheWorld();
  const { cache, clock } = world;
  const tags = [['kubernetes-pod-uid', 'u-1']] as const;
  const identity = { ...role('one'), attribution: { ...NO_ATTRIBUTION, tags } };
  assert.equal((await askPatiently(world, identity)).ok, true);
  cache.retain([]);
  assert.equal(cache.remainingMs(identity), undefined);
  await clock.advance(HOUR_MS);
});

test('a set that a pod comes back to after half of its life is renewed then, and served meanwhile', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  await askPatiently(world, role('a'));
  cache.retain([]);
  await clock.advance(40 * MINUTE_MS);
  assert.equal(sts.calls.length, 1);
  assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, true);
  await clock.advance(2 * SECOND_MS);
  assert.equal(sts.calls.length, 2);
});

test("what a pod of another replica's node asked for is kept, is renewed only when one asks again, and ends with its set", async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  const ask = () => cache.get(role('a'), 'request', PATIENT);
  void ask();
  await clock.advance(SECOND_MS);
  cache.retain([{ identity: role('a'), isRenewed: false }]);
  await clock.advance(40 * MINUTE_MS);
  assert.equal(sts.calls.length, 1, 'nobody asked');
  assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, true);
  await clock.advance(SECOND_MS);
  assert.equal(sts.calls.length, 2, 'one asked for a set that was due');
  await clock.advance(HOUR_MS);
  assert.equal(sts.calls.length, 2);
  assert.equal(cache.remainingMs(role('a')), undefined, 'what has ended is not kept');
  const asking = ask();
  await clock.advance(SECOND_MS);
  assert.equal((await asking).ok, true);
  assert.equal(sts.calls.length, 3);
});

test("a failure that a pod of another replica's node met stands for the next that asks, and nothing is tried again by itself", async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = () => 'denied';
  assert.equal((await askAsStranger(world)).ok, false);
  cache.retain([{ identity: role('a'), isRenewed: false }]);
  assert.equal((await askAsStranger(world)).ok, false);
  assert.equal(sts.calls.length, 1);
  await clock.advance(HOUR_MS);
  assert.equal(sts.calls.length, 1);
});

test("a set that was asked for is renewed before its end once the node's stream is here", async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  assert.equal((await askAsStranger(world)).ok, true);
  cache.retain(live(role('a')));
  await clock.advance(40 * MINUTE_MS);
  assert.equal(sts.calls.length, 2);
});

async function askAsStranger({ cache, clock }: CacheWorld): Promise<CredentialOutcome> {
  const asking = cache.get(role('a'), 'request', PATIENT);
  await clock.advance(SECOND_MS);
  return asking;
}

test('a call in progress for an identity without a pod ends for those who wait, and its set is kept', async () => {
  using world = cacheWorld();
  const waiting = world.cache.get(role('a'), 'request', PATIENT);
  await world.clock.advance(50);
  world.cache.retain([]);
  await world.clock.advance(60);
  assert.equal((await waiting).ok, true);
  await world.clock.advance(40 * MINUTE_MS);
  assert.equal(world.sts.calls.length, 1);
  assert.equal((await world.cache.get(role('a'), 'request', IMPATIENT)).ok, true);
});

test('an identity without a pod whose call failed is forgotten', async () => {
  using world = cacheWorld();
  world.sts.behave = () => 'throttled';
  void world.cache.get(role('a'), 'request', PATIENT);
  await world.clock.advance(50);
  world.cache.retain([]);
  await world.clock.advance(HOUR_MS);
  assert.equal(world.sts.calls.length, 1);
  assert.equal(world.cache.inspect(role('a')).failure, undefined);
});

test('10,000 sets without a pod are kept, those that were needed last; those of pods are never pushed out', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.latencyMs = 1;
  const many = roles(10_100);
  for (let begin = 0; begin < many.length; begin += 100) {
    for (const identity of many.slice(begin, begin + 100)) void cache.get(identity, 'prefetch', PATIENT);
    await clock.advance(10);
    // The first five have pods all the time.
    cache.retain(live(...many.slice(0, 5)));
  }
  assert.equal(sts.calls.length, many.length);
  const kept = many.filter((identity) => cache.peek(identity) !== undefined);
  assert.equal(kept.length, 10_005);
  assert.deepEqual(kept.slice(0, 5), many.slice(0, 5));
  assert.deepEqual(kept.slice(5), many.slice(-10_000));
});

test('a call that hangs ends after its limit, for those who still wait', async () => {
  using world = cacheWorld({ callLimitMs: 4000 });
  world.sts.behave = () => 'hanging';
  const waiting = world.cache.get(role('a'), 'request', PATIENT);
  await world.clock.advance(3999);
  assert.equal(world.sts.inFlight, 1);
  await world.clock.advance(1);
  const outcome = await waiting;
  assert.ok(!outcome.ok);
  assert.equal(outcome.failure.kind, 'sts-unavailable');
  assert.equal(world.sts.inFlight, 0);
});

for (const trouble of ['hanging', 'unavailable', 'denied', 'malformed'] as const) {
  test(`one role that is ${trouble} leaves the latency of the others as it was`, async () => {
    using world = cacheWorld();
    const { cache, clock, sts } = world;
    sts.behave = ({ roleArn }): Behaviour => (roleArn.endsWith('/bad') ? trouble : 'well');
    for (let minute = 0; minute < 10; minute += 1) {
      void cache.get(role('bad'), 'request', PATIENT);
      await clock.advance(MINUTE_MS - 200);
      const fresh = cache.get(role(`fresh-${minute}`), 'request', PATIENT);
      await clock.advance(100);
      assert.equal(sts.callsOf(role(`fresh-${minute}`)).length, 1);
      assert.equal((await fresh).ok, true);
      await clock.advance(100);
    }
  });
}

test('several roles that hang leave a pod with another role a try within a second', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = ({ roleArn }): Behaviour => (roleArn.includes('/bad') ? 'hanging' : 'well');
  for (let minute = 0; minute < 10; minute += 1) {
    for (let bad = 0; bad < 5; bad += 1) void cache.get(role(`bad-${bad}`), 'request', PATIENT);
    await clock.advance(MINUTE_MS);
    const startedMs = clock.monotonic();
    let waitedMs = Number.POSITIVE_INFINITY;
    void cache.get(role(`fresh-${minute}`), 'request', PATIENT).then(() => {
      waitedMs = clock.monotonic() - startedMs;
    });
    await clock.advance(1100);
    assert.ok(waitedMs <= 1100, `${minute}: ${waitedMs}`);
  }
});

test('when the first list wants everything and STS is away, each identity is had soon after its return', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = () => 'unavailable';
  for (const identity of roles(100)) void cache.get(identity, 'prefetch', PATIENT);
  await clock.advance(10 * MINUTE_MS);
  sts.behave = () => 'well';
  await clock.advance(MINUTE_MS);
  for (const identity of roles(100)) assert.equal((await cache.get(identity, 'request', IMPATIENT)).ok, true);
});

test('with the first answer after trouble every failure of that time is forgotten', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = () => 'unavailable';
  for (let second = 0; second < 1800; second += 1) {
    for (const identity of roles(20)) void cache.get(identity, 'prefetch', IMPATIENT);
    await clock.advance(SECOND_MS);
  }
  sts.behave = () => 'well';
  while (sts.succeeded === 0) await clock.advance(100);
  await clock.advance(3 * SECOND_MS);
  for (const identity of roles(20)) assert.equal((await cache.get(identity, 'request', IMPATIENT)).ok, true);
});

test('requests by pods are let through before prefetches and renewals that wait', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = () => 'throttled';
  for (const identity of roles(50)) void cache.get(identity, 'prefetch', PATIENT);
  await clock.advance(5 * SECOND_MS);
  sts.behave = () => 'well';
  void cache.get(role('waiting'), 'request', PATIENT);
  const before = sts.calls.length;
  await clock.advance(MINUTE_MS);
  const place = sts.calls.slice(before).findIndex(({ identity }) => identity.roleArn === role('waiting').roleArn);
  assert.ok(place >= 0 && place <= 1, `it was number ${place}`);
});

test('a prefetch that waits is moved up when a pod asks for the same', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  sts.behave = () => 'throttled';
  for (const identity of roles(50)) void cache.get(identity, 'prefetch', PATIENT);
  await clock.advance(150);
  for (const identity of roles(60)) void cache.get(identity, 'prefetch', PATIENT);
  void cache.get(role('last'), 'prefetch', PATIENT);
  sts.behave = () => 'well';
  void cache.get(role('last'), 'request', PATIENT);
  const before = sts.calls.length;
  await clock.advance(MINUTE_MS);
  const place = sts.calls.slice(before).findIndex(({ identity }) => identity.roleArn === role('last').roleArn);
  assert.ok(place >= 0 && place <= 1, `it was number ${place}`);
});

for (const [name, expiryErrorMs] of [
  ['in the past', -2 * HOUR_MS],
  ['within a minute', -HOUR_MS + 59 * SECOND_MS],
  ['not a number', Number.NaN],
  ['never', Number.POSITIVE_INFINITY],
] as const) {
  test(`credentials whose expiry is ${name} are refused with one warning`, async () => {
    using world = cacheWorld();
    world.sts.expiryErrorMs = expiryErrorMs;
    assert.equal((await askPatiently(world, role('a'))).ok, false);
    assert.equal((await askPatiently(world, role('b'))).ok, false);
    assert.equal(world.lines.filter(({ level }) => level === 'warn').length, 1);
  });
}

test('an expiry later than the session can last is corrected with one warning', async () => {
  for (const expiryErrorMs of [2 * HOUR_MS, 20 * HOUR_MS, 1e15, 1e300]) {
    using world = cacheWorld();
    const { cache, clock, sts } = world;
    sts.expiryErrorMs = expiryErrorMs;
    assert.equal((await askPatiently(world, role('a'))).ok, true);
    const outcome = await askPatiently(world, role('b'));
    assert.ok(outcome.ok);
    assert.ok(outcome.value.expiresAtMs <= clock.now() + 13 * HOUR_MS, 'a pod would keep them past their end');
    assert.equal(world.lines.filter(({ level }) => level === 'warn').length, 1);
    sts.behave = () => 'unavailable';
    await clock.advance(HOUR_MS - MINUTE_MS);
    assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, false);
  }
});

for (const clockOffsetMs of [-2 * HOUR_MS, -HOUR_MS, HOUR_MS, 2 * HOUR_MS]) {
  test(`a wall clock that is wrong by ${-clockOffsetMs / HOUR_MS} h all the time changes nothing, once STS has shown it`, async () => {
    using world = cacheWorld();
    world.sts.clockOffsetMs = clockOffsetMs;
    for (let minute = 0; minute < 120; minute += 1) {
      assert.equal((await askPatiently(world, role('a'))).ok, true);
      await world.clock.advance(MINUTE_MS);
    }
    assert.ok(world.sts.calls.length <= 6, `${world.sts.calls.length} calls`);
  });
}

for (const jumpMs of [HOUR_MS, -HOUR_MS, 20 * MINUTE_MS]) {
  test(`a jump of the wall clock by ${jumpMs / MINUTE_MS} min brings neither an expired answer nor a storm`, async (t) => {
    using world = cacheWorld();
    const { cache, clock, sts } = world;
    const identities = roles(500);
    for (const identity of identities) void cache.get(identity, 'request', PATIENT);
    await clock.advance(10 * MINUTE_MS);
    assert.equal(sts.calls.length, 500);
    clock.jumpWall(jumpMs);
    const jumpedMs = clock.monotonic();
    for (const identity of identities) {
      const outcome = await cache.get(identity, 'prefetch', IMPATIENT);
      if (outcome.ok) assert.ok(outcome.value.expiresAtMs > clock.now() + MINUTE_MS);
    }
    await clock.advance(15 * MINUTE_MS);
    const calls = sts.calls.slice(500);
    const firstSecond = calls.filter(({ atMs }) => atMs < jumpedMs + 2000).length;
    t.diagnostic(
      `${calls.length} calls, ${firstSecond} of them in the first two seconds, ${sts.mostInFlight} in flight`,
    );
    assert.ok(calls.length <= 500);
    assert.ok(firstSecond <= 110, 'all came at once');
    assert.equal(new Set(calls.map(({ key }) => key)).size, calls.length);
    for (const identity of identities) assert.equal((await cache.get(identity, 'request', IMPATIENT)).ok, true);
  });
}

test('a wall clock that is set back does not make credentials live longer', async () => {
  using world = cacheWorld();
  const { cache, clock, sts } = world;
  await askPatiently(world, role('a'));
  clock.jumpWall(-HOUR_MS);
  sts.behave = () => 'unavailable';
  await clock.advance(HOUR_MS - MINUTE_MS);
  assert.equal((await cache.get(role('a'), 'request', IMPATIENT)).ok, false);
});

test('the log has the fields of Kiam, and no secret', async () => {
  using world = cacheWorld();
  const identity = { ...role('team/app'), sessionName: 'annotated', externalId: 'EXTERNAL' };
  await askPatiently(world, identity);
  world.sts.behave = () => 'denied';
  await askPatiently(world, role('b'));
  assert.deepEqual(
    world.lines.map(({ level, message }) => `${level} ${message}`),
    [
      'info requesting credentials',
      'info fetched credentials',
      'info requesting credentials',
      'error error requesting credentials',
    ],
  );
  const asked = {
    'credentials.role': 'team/app',
    'credentials.session-name': 'annotated',
    'credentials.external-id': '******',
  };
  assert.deepEqual(world.lines[0]?.fields, asked);
  assert.deepEqual(world.lines[1]?.fields, {
    ...asked,
    'credentials.access.key': 'ASIA1',
    'credentials.expiration': '2026-01-01T01:00:00Z',
  });
  assert.equal(world.lines[3]?.fields['pod.iam.roleArn'], role('b').roleArn);
  assert.doesNotMatch(JSON.stringify(world.lines), /SECRET|TOKEN|EXTERNAL/);
});

test('a cache that is closed lets everybody go and calls nobody', async () => {
  const world = cacheWorld();
  const waiting = world.cache.get(role('a'), 'request', PATIENT);
  await settle();
  world.cache.close();
  assert.equal((await waiting).ok, false);
  assert.equal((await world.cache.get(role('b'), 'request', PATIENT)).ok, false);
  await world.clock.advance(HOUR_MS);
  assert.equal(world.sts.calls.length, 1);
});

test('an exception in the call for one role is the failure of that role, told without its text, and no outage', async () => {
  for (const assumeRole of [
    () => Promise.reject(new URIError('URI malformed: half a secret')),
    () => {
      throw new TypeError('half a secret');
    },
  ]) {
    using world = cacheWorld();
    const { sts } = world;
    using faulty = cacheWorld({
      clock: world.clock,
      sts: {
        assumeRole: (identity, signal) =>
          identity.roleArn.includes('/bad-') ? assumeRole() : sts.assumeRole(identity, signal),
      },
    });
    const { cache, lines } = faulty;
    const asker = { ...world, cache };
    for (let second = 0; second < 20; second += 1) {
      for (const bad of ['bad-1', 'bad-2', 'bad-3']) {
        const outcome = await cache.get(role(bad), 'request', PATIENT);
        assert.ok(!outcome.ok);
        assert.equal(outcome.failure.kind, 'internal');
      }
      assert.equal((await askPatiently(asker, role(`well-${second}`))).ok, true);
      assert.equal(cache.inspect(role('bad-1')).isPaused, false);
    }
    assert.doesNotMatch(JSON.stringify(lines), /half a secret/);
  }
});

test('to whom a set was issued is known until it ends, also after its renewal, and nothing of it is secret', async () => {
  using world = cacheWorld();
  const { cache, clock } = world;
  const outcome = await askPatiently(world, role('a'));
  assert.ok(outcome.ok);
  const { accessKeyId, issuedAtMs, expiresAtMs } = outcome.value;
  const expected = { identity: role('a'), set: { accessKeyId, issuedAtMs, expiresAtMs } };
  assert.deepEqual(cache.issuedTo(accessKeyId), expected);
  await clock.advance(40 * MINUTE_MS);
  const renewed = cache.peek(role('a'));
  assert.ok(renewed !== undefined && renewed.accessKeyId !== accessKeyId);
  assert.deepEqual(cache.issuedTo(accessKeyId), expected);
  assert.deepEqual(cache.issuedTo(renewed.accessKeyId)?.set.issuedAtMs, renewed.issuedAtMs);
  await clock.advance(21 * MINUTE_MS);
  assert.equal(cache.issuedTo(accessKeyId), undefined);
  assert.equal(cache.issuedTo('ASIAXXXXXXXXXXXXXXXX'), undefined);
});
