import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Trust } from '#agent/node/trust.ts';
import type { Client, Evidence } from '#agent/ports.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const ADDRESS = '192.0.2.1';
const NONE: Evidence = { kind: 'none', reason: 'a test' };

/** `'-'` for no evidence, anything else is the interface's key. */
function evidenceOf(key: string): Evidence {
  return key === '-' ? NONE : { kind: 'interface', key };
}

function clientWith(key: string, acceptedMs = 0): Client {
  return { address: ADDRESS, evidence: evidenceOf(key), acceptedMs };
}

function trustThat() {
  const clock = new ManualClock();
  const kernel: { key: string; there: string[] } = { key: '-', there: [] };
  const trust = new Trust({
    clock,
    logger: recordingLogger().logger,
    readEvidence: () => evidenceOf(kernel.key),
    isElsewhere: (before, now) =>
      kernel.there.includes(before) && (now.kind === 'none' ? now.behind : now.key) !== before,
    maxAgeMs: () => 30_000,
  });
  /** A connection that shows this key asks, and a server answers that it is this pod. */
  const answer = (key: string, uid: string, viewAgeMs = 0): boolean => {
    kernel.key = key;
    const client = clientWith(key, clock.monotonic());
    return trust.acceptAnswer(client, { uid, viewAgeMs }, trust.prepareCheck(client));
  };
  return { clock, kernel, trust, answer };
}

const NEVER_TOLD = Number.NEGATIVE_INFINITY;

describe('trust', () => {
  const cases = [
    // [evidence at the confirmation, now, milliseconds since, tied by, check that is asked for]
    ['if-7', 'if-7', 0, 'kernel-bound', 'kernel-bound'],
    ['if-7', 'if-7', 86_400_000, 'kernel-bound', 'kernel-bound'],
    ['if-7', 'if-8', 0, undefined, 'read-or-refuse'],
    ['if-7', '-', 0, undefined, 'read-or-refuse'],
    ['-', 'if-7', 0, undefined, 'read-or-refuse'],
    ['-', 'if-7', 60_000, undefined, 'read-or-refuse'],
    ['-', '-', 0, 'read-unless-recent', 'read-unless-recent'],
    ['-', '-', 29_999, 'read-unless-recent', 'read-unless-recent'],
    ['-', '-', 30_000, undefined, 'read'],
  ] as const;
  for (const [before, now, afterMs, tie, check] of cases) {
    it(`trust confirmed with ${before}, ${afterMs} ms later with ${now}: tied by ${tie ?? 'nothing'}, asks for ${check}`, async () => {
      const { clock, trust, answer } = trustThat();
      assert.equal(trust.prepareCheck(clientWith(before)).check, 'read');
      assert.ok(answer(before, 'uid-1'));
      await clock.advance(afterMs);
      assert.equal(trust.tiedBy(clientWith(now), 'uid-1'), tie);
      assert.equal(trust.tiedBy(clientWith(now), 'uid-2'), undefined);
      assert.equal(trust.prepareCheck(clientWith(now)).check, check);
      assert.equal(trust.tiedBy({ ...clientWith(now), address: '192.0.2.2' }, 'uid-1'), undefined);
    });
  }

  it('trust asks for each connection that the kernel says nothing of, and recalls what was confirmed before it', async () => {
    const { clock, trust, answer } = trustThat();
    await clock.advance(1000);
    assert.ok(answer('-', 'uid-1'));
    const [earlier, same, later] = [999, 1000, 1001].map((acceptedMs) => clientWith('-', acceptedMs));
    assert.ok(earlier && same && later);
    assert.deepEqual(
      [earlier, same, later].map((client) => trust.tiedBy(client, 'uid-1')),
      ['read-unless-recent', 'read-unless-recent', undefined],
    );
    assert.equal(trust.prepareCheck(later).check, 'read');
    assert.ok(trust.answersWhenUnreachable(later, 'uid-1', NEVER_TOLD));
    assert.ok(!trust.answersWhenUnreachable(later, 'uid-2', NEVER_TOLD));
    await clock.advance(10);
    assert.ok(answer('-', 'uid-1'));
    assert.equal(
      trust.tiedBy(later, 'uid-1'),
      'read-unless-recent',
      'what is confirmed for one holds for all before it',
    );
    await clock.advance(29_999);
    assert.ok(trust.answersWhenUnreachable(clientWith('-', clock.monotonic()), 'uid-1', NEVER_TOLD));
    await clock.advance(1);
    assert.ok(!trust.answersWhenUnreachable(clientWith('-', clock.monotonic()), 'uid-1', NEVER_TOLD));
  });

  it('trust refuses who speaks for a pod from elsewhere while the pod’s interface lives, whatever the API server says', () => {
    for (const now of ['if-8', '-']) {
      const { trust, kernel, answer } = trustThat();
      kernel.there = ['if-7', 'if-8'];
      assert.ok(answer('if-7', 'uid-1'));
      assert.equal(answer(now, 'uid-1'), false);
      assert.equal(trust.tiedBy(clientWith(now), 'uid-1'), undefined);
      assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), 'kernel-bound', 'the pod itself is served on');
      assert.ok(
        answer(now, 'uid-2'),
        'another pod may have the address, though the former one’s interface is left over',
      );
    }
  });

  it('trust takes a pod for itself when others have come behind its interface', () => {
    const { trust, kernel, answer } = trustThat();
    kernel.there = ['if-7'];
    assert.ok(answer('if-7', 'uid-1'));
    kernel.key = '-';
    const evidence: Evidence = { kind: 'none', reason: 'several are behind it', behind: 'if-7' };
    const client = { address: ADDRESS, evidence, acceptedMs: 0 };
    assert.equal(trust.prepareCheck(client).check, 'read-or-refuse');
    assert.ok(trust.acceptAnswer(client, { uid: 'uid-1', viewAgeMs: 0 }, trust.prepareCheck(client)));
  });

  it('trust recalls what a server told of all pods recently, of an address that the kernel says nothing of', async () => {
    const { clock, trust, answer } = trustThat();
    await clock.advance(60_000);
    const toldMs = clock.monotonic() - 5000;
    assert.ok(trust.answersWhenUnreachable(clientWith('-'), 'uid-1', toldMs));
    assert.ok(
      !trust.answersWhenUnreachable(clientWith('if-7'), 'uid-1', toldMs),
      'its interface may be the next pod’s',
    );
    assert.ok(answer('-', 'uid-2'));
    assert.ok(!trust.answersWhenUnreachable(clientWith('-'), 'uid-1', toldMs), 'the API server named another pod');
    await clock.advance(24_999);
    assert.ok(trust.answersWhenUnreachable({ ...clientWith('-'), address: '192.0.2.9' }, 'uid-1', toldMs));
    await clock.advance(1);
    assert.ok(!trust.answersWhenUnreachable({ ...clientWith('-'), address: '192.0.2.9' }, 'uid-1', toldMs));
  });

  it('trust recalls nothing that is in doubt', () => {
    for (const [before, now] of [
      ['if-7', 'if-8'],
      ['if-7', '-'],
      ['-', 'if-7'],
    ] as const) {
      const { trust, answer } = trustThat();
      answer(before, 'uid-1');
      assert.ok(!trust.answersWhenUnreachable(clientWith(now), 'uid-1', NEVER_TOLD));
    }
  });

  it('trust holds the next pod by its own evidence once that is confirmed', () => {
    const { trust, answer } = trustThat();
    answer('if-7', 'uid-1');
    assert.ok(answer('if-8', 'uid-2'));
    assert.equal(trust.tiedBy(clientWith('if-8'), 'uid-2'), 'kernel-bound');
    assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), undefined);
  });

  it('trust holds the same pod after its sandbox was made again', () => {
    const { trust, answer } = trustThat();
    answer('if-7', 'uid-1');
    assert.ok(answer('if-8', 'uid-1'));
    assert.equal(trust.tiedBy(clientWith('if-8'), 'uid-1'), 'kernel-bound');
  });

  it('trust refuses an answer when the address changed hands on the way, and keeps what is known of its new owner', () => {
    const { trust, kernel, answer } = trustThat();
    kernel.key = 'if-7';
    const former = clientWith('if-7');
    const doubt = trust.prepareCheck(former);
    answer('if-8', 'uid-2');
    assert.equal(trust.acceptAnswer(former, { uid: 'uid-1', viewAgeMs: 0 }, doubt), false);
    assert.equal(trust.tiedBy(clientWith('if-8'), 'uid-2'), 'kernel-bound');
  });

  it('trust refuses the answer of a replica with another view, and asks for more', () => {
    for (const key of ['if-7', '-']) {
      const { trust, answer } = trustThat();
      answer(key, 'uid-2');
      assert.equal(answer(key, 'uid-1'), false);
      assert.equal(trust.tiedBy(clientWith(key), 'uid-1'), undefined);
      assert.equal(trust.prepareCheck(clientWith(key)).check, key === '-' ? 'read' : 'read-or-refuse');
      assert.ok(answer(key, 'uid-1'));
      assert.notEqual(trust.tiedBy(clientWith(key), 'uid-1'), undefined);
    }
  });

  it('trust refuses another pod than the one that it asked about, also when that has gone meanwhile', () => {
    const { trust, answer } = trustThat();
    answer('-', 'uid-1');
    const doubt = trust.prepareCheck(clientWith('-'));
    trust.forget('uid-1');
    assert.equal(trust.acceptAnswer(clientWith('-'), { uid: 'uid-2', viewAgeMs: 0 }, doubt), false);
  });

  it('trust never lets an earlier question overtake a later one', async () => {
    const { clock, trust } = trustThat();
    const client = clientWith('-');
    const early = trust.prepareCheck(client);
    await clock.advance(100);
    const late = trust.prepareCheck(client);
    assert.ok(trust.acceptAnswer(client, { uid: 'uid-2', viewAgeMs: 0 }, late));
    assert.equal(trust.acceptAnswer(client, { uid: 'uid-1', viewAgeMs: 0 }, early), false);
    assert.equal(trust.tiedBy(client, 'uid-2'), 'read-unless-recent');
  });

  it('trust counts from the moment that the server vouches for, not from its answer', async () => {
    const { clock, trust } = trustThat();
    const client = clientWith('-');
    await clock.advance(20_000);
    const doubt = trust.prepareCheck(client);
    await clock.advance(900);
    assert.ok(trust.acceptAnswer(client, { uid: 'uid-1', viewAgeMs: 20_000 }, doubt));
    await clock.advance(9099);
    assert.equal(trust.tiedBy(client, 'uid-1'), 'read-unless-recent');
    await clock.advance(1);
    assert.equal(trust.tiedBy(client, 'uid-1'), undefined);
  });

  it('trust holds nothing that a server did not name, and lets its answer pass', () => {
    const { trust, kernel, answer } = trustThat();
    assert.ok(answer('if-7', ''));
    assert.equal(trust.prepareCheck(clientWith('if-7')).check, 'read');
    kernel.key = 'if-8';
    const client = clientWith('if-7');
    assert.equal(trust.acceptAnswer(client, { uid: '', viewAgeMs: 0 }, trust.prepareCheck(client)), false);
  });

  it('trust forgets a pod that has gone, and no other, where nothing but the word of a server held it', () => {
    const { trust, answer } = trustThat();
    answer('-', 'uid-2');
    trust.forget('uid-1');
    assert.equal(trust.tiedBy(clientWith('-'), 'uid-2'), 'read-unless-recent');
    trust.forget('uid-2');
    assert.equal(trust.tiedBy(clientWith('-'), 'uid-2'), undefined);
    assert.equal(trust.prepareCheck(clientWith('-')).check, 'read');
  });

  it('trust knows the interface of a pod that has gone, so that the next pod with the address is in doubt', () => {
    const { trust, answer } = trustThat();
    answer('if-7', 'uid-1');
    trust.forget('uid-1');
    assert.equal(trust.prepareCheck(clientWith('if-8')).check, 'read-or-refuse');
    // A server that knows less may have said so: the pod itself is still held.
    assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), 'kernel-bound');
  });

  it('trust lets the kernel hold only what the API server has confirmed', async () => {
    const { clock, trust, answer } = trustThat();
    assert.ok(answer('if-7', 'uid-1', 10_000));
    assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), 'read-unless-recent');
    assert.equal(trust.prepareCheck(clientWith('if-8')).check, 'read-or-refuse');
    await clock.advance(20_000);
    assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), undefined);
    assert.equal(trust.prepareCheck(clientWith('if-7')).check, 'read');
    assert.ok(answer('if-7', 'uid-1'));
    await clock.advance(3_600_000);
    assert.equal(trust.tiedBy(clientWith('if-7'), 'uid-1'), 'kernel-bound');
  });

  it('trust is not moved by the wall clock', () => {
    const { clock, trust, answer } = trustThat();
    answer('-', 'uid-1');
    for (const byMs of [86_400_000, -172_800_000]) {
      clock.jumpWall(byMs);
      assert.equal(trust.tiedBy(clientWith('-'), 'uid-1'), 'read-unless-recent');
    }
  });
});
