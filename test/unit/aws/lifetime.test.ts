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
    packedPolicyPercent: 0,
  };
}

test('an expiry is believed where the session can have it', () => {
  const cases = [
    [issued(HOUR_MS), HOUR_MS],
    [issued(HOUR_MS + 4 * MINUTE_MS), HOUR_MS],
    [issued(15 * MINUTE_MS), 15 * MINUTE_MS],
    [issued(1.5 * MINUTE_MS), 1.5 * MINUTE_MS],
    [issued(3 * HOUR_MS, 2 * HOUR_MS), HOUR_MS],
    [issued(-HOUR_MS, -2 * HOUR_MS), HOUR_MS],
  ] as const;
  for (const [success, lifeMs] of cases) {
    assert.deepEqual(lifetimeOf(success, NOW_MS), { kind: 'believed', lifeMs });
  }
});

test('an expiry that leaves no time is refused, one that no session has is cut', () => {
  for (const lifeMs of [1.5 * MINUTE_MS - 1, MINUTE_MS, 0, -HOUR_MS, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.deepEqual(lifetimeOf(issued(lifeMs), NOW_MS), { kind: 'refused' });
  }
  assert.deepEqual(lifetimeOf(issued(2 * HOUR_MS), NOW_MS), { kind: 'corrected', lifeMs: HOUR_MS, absurd: false });
  assert.deepEqual(lifetimeOf(issued(14 * HOUR_MS), NOW_MS), { kind: 'corrected', lifeMs: HOUR_MS, absurd: true });
});

test('a renewal is due at half of the life or as the flag says, whichever is earlier, and up to a twentieth sooner', () => {
  const cases = [
    // [asked, granted, --session-refresh, renewed after at most]
    [HOUR_MS, HOUR_MS, 0, 30 * MINUTE_MS],
    [HOUR_MS, HOUR_MS, 5 * MINUTE_MS, 30 * MINUTE_MS],
    [HOUR_MS, HOUR_MS, 50 * MINUTE_MS, 10 * MINUTE_MS],
    // What AWS cuts short is renewed at half of what it granted: the flag is meant for what was asked for.
    [2 * HOUR_MS, HOUR_MS, HOUR_MS, 30 * MINUTE_MS],
    [2 * HOUR_MS, HOUR_MS, 59 * MINUTE_MS, 30 * MINUTE_MS],
    [12 * HOUR_MS, HOUR_MS, 6 * HOUR_MS, 30 * MINUTE_MS],
    [15 * MINUTE_MS, 3 * MINUTE_MS, 5 * MINUTE_MS, 1.5 * MINUTE_MS],
    // Never at once, whatever the numbers.
    [HOUR_MS, HOUR_MS, HOUR_MS - 1, 5 * MINUTE_MS],
    [HOUR_MS, HOUR_MS, 2 * HOUR_MS, 30 * MINUTE_MS],
    [0, 15 * MINUTE_MS, 20 * MINUTE_MS, 7.5 * MINUTE_MS],
    [0, 2 * MINUTE_MS, 20 * MINUTE_MS, MINUTE_MS],
  ] as const;
  for (const [sessionMs, lifeMs, sessionRefreshMs, latestMs] of cases) {
    assert.equal(refreshAfterMs(lifeMs, { sessionMs, sessionRefreshMs, random: () => 0 }), latestMs);
    assert.equal(refreshAfterMs(lifeMs, { sessionMs, sessionRefreshMs, random: () => 1 }), latestMs * 0.95);
  }
});

test('an SDK that reads credentials of an hour finds 25 minutes of life in them, and more', () => {
  const rule = { sessionMs: HOUR_MS, sessionRefreshMs: 0, random: () => 0 };
  assert.ok(HOUR_MS - refreshAfterMs(HOUR_MS, rule) >= 25 * MINUTE_MS);
});
