import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startProfileListener } from '#telemetry/pprof.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

async function start(t: TestContext): Promise<{ origin: string; clock: ManualClock }> {
  const clock = new ManualClock();
  const listener = startProfileListener({
    address: { host: 'localhost', port: 0 },
    logger: recordingLogger().logger,
    clock,
  });
  t.after(() => listener.close());
  return { origin: `http://127.0.0.1:${await listener.listening}/debug/pprof`, clock };
}

/** Lets the clock run until the request is answered. */
async function answered(request: Promise<Response>, clock: ManualClock): Promise<Response> {
  const state = { done: false };
  void request.finally(() => {
    state.done = true;
  });
  while (!state.done) {
    await clock.advance(100);
    await settle();
  }
  return request;
}

test('A CPU profile has the form that Chrome reads', async (t) => {
  const { origin, clock } = await start(t);
  const response = await answered(fetch(`${origin}/profile?seconds=2`), clock);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-disposition') ?? '', /\.cpuprofile"$/);
  const profile: unknown = await response.json();
  assert.ok(typeof profile === 'object' && profile !== null);
  for (const name of ['nodes', 'startTime', 'endTime', 'samples', 'timeDeltas']) assert.ok(name in profile, name);
});

test('A heap profile has sizes and places, and no value that the program holds', async (t) => {
  const { origin } = await start(t);
  const secrets = Array.from({ length: 50_000 }, (_, index) => ({ secret: `SECRET-${index}-${'x'.repeat(50)}` }));
  const response = await fetch(`${origin}/heap`);
  const body = await response.text();
  assert.match(response.headers.get('content-disposition') ?? '', /\.heapprofile"$/);
  const profile: unknown = JSON.parse(body);
  assert.ok(typeof profile === 'object' && profile !== null && 'head' in profile && 'samples' in profile);
  assert.equal(secrets.length, 50_000);
  assert.ok(!body.includes('SECRET-'));
});

for (const seconds of ['0', '61', '-1', '1.5', 'x', '', '1e1']) {
  test(`seconds=${seconds} is refused`, async (t) => {
    const { origin } = await start(t);
    assert.equal((await fetch(`${origin}/profile?seconds=${seconds}`)).status, 400);
  });
}

test('While one profile is taken the next is refused, and afterwards it is not', async (t) => {
  const { origin, clock } = await start(t);
  const first = fetch(`${origin}/profile?seconds=60`);
  let second = await fetch(`${origin}/heap`);
  // The heap's request may have come first.
  while (second.status !== 429) second = await fetch(`${origin}/heap`);
  assert.equal((await fetch(`${origin}/profile?seconds=1`)).status, 429);
  assert.equal((await answered(first, clock)).status, 200);
  assert.equal((await fetch(`${origin}/heap`)).status, 200);
});

test('Who hangs up ends the profile', async (t) => {
  const { origin } = await start(t);
  const caller = new AbortController();
  const first = fetch(`${origin}/profile?seconds=60`, { signal: caller.signal });
  while ((await fetch(`${origin}/heap`)).status !== 429) await settle();
  caller.abort();
  await assert.rejects(first);
  while ((await fetch(`${origin}/heap`)).status !== 200) await settle();
});

test('Heap snapshots are not offered', async (t) => {
  const { origin } = await start(t);
  for (const path of ['/heapsnapshot', '/goroutine', '/cmdline'])
    assert.equal((await fetch(origin + path)).status, 404);
});
