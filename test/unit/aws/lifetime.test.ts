import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lifetimeOf, refreshAfterMs } from '#aws/lifetime.ts';
import type { StsSuccess } from '#aws/sts.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const NOW_MS = Date.UTC(2026, 0, 1);

function issued(lifeMs: number, clockOffsetMs = 0): StsSuccess {
  return {
    ok: true,
    value: {
      accessKeyId: 'A',
      secretAccessKey: 'S',
      sessionToken: 'T',
      issuedAtMs: NOW_MS,
      expiresAtMs: NOW_MS + lifeMs,
    },
    grantedMs: HOUR_MS,
    clockOffsetMs,
  };
}

test('an expiry is believed where the session can have it', () => {
  const cases = [
    [issued(HOUR_MS), HOUR_MS],
    [issued(HOUR_MS + 4 * MINUTE_MS), HOUR_MS],
    [issued(15 * MINUTE_MS), 15 * MINUTE_MS],
    [issued(MINUTE_MS + 1), MINUTE_MS + 1],
    [issued(3 * HOUR_MS, 2 * HOUR_MS), HOUR_MS],
    [issued(-HOUR_MS, -2 * HOUR_MS), HOUR_MS],
  ] as const;
  for (const [success, lifeMs] of cases) {
    assert.deepEqual(lifetimeOf(success, NOW_MS), { kind: 'believed', lifeMs });
  }
});

test('an expiry that leaves no time is refused, one that no session has is cut', () => {
  for (const lifeMs of [MINUTE_MS, 0, -HOUR_MS, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.deepEqual(lifetimeOf(issued(lifeMs), NOW_MS), { kind: 'refused' });
  }
  assert.deepEqual(lifetimeOf(issued(2 * HOUR_MS), NOW_MS), { kind: 'corrected', lifeMs: HOUR_MS, absurd: false });
  assert.deepEqual(lifetimeOf(issued(14 * HOUR_MS), NOW_MS), { kind: 'corrected', lifeMs: HOUR_MS, absurd: true });
});

test('a renewal is due at half of the life or as the flag says, whichever is earlier, and up to a tenth sooner', () => {
  const cases = [
    [HOUR_MS, 0, 30 * MINUTE_MS],
    [HOUR_MS, 5 * MINUTE_MS, 30 * MINUTE_MS],
    [HOUR_MS, 50 * MINUTE_MS, 10 * MINUTE_MS],
    [15 * MINUTE_MS, 20 * MINUTE_MS, 0],
  ] as const;
  for (const [lifeMs, sessionRefreshMs, latestMs] of cases) {
    assert.equal(refreshAfterMs(lifeMs, { sessionRefreshMs, random: () => 0 }), latestMs);
    assert.equal(refreshAfterMs(lifeMs, { sessionRefreshMs, random: () => 1 }), latestMs * 0.9);
  }
});

test('an SDK that reads credentials of an hour finds 25 minutes of life in them, and more', () => {
  assert.ok(HOUR_MS - refreshAfterMs(HOUR_MS, { sessionRefreshMs: 0, random: () => 0 }) >= 25 * MINUTE_MS);
});
