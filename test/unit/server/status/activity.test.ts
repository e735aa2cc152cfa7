import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { StsOutcome } from '#aws/sts.ts';
import { unavailable } from '#aws/sts-failure.ts';
import { createActivity } from '#bin/activity.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { RecentEvents } from '#server/status/recent-events.ts';
import { StsHistory } from '#server/status/sts-history.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { podRecord } from '../../../support/pods.ts';

const MINUTE_MS = 60_000;
const READER = {
  roleArn: 'arn:aws:iam::123456789012:role/reader',
  sessionName: 'kiam',
  externalId: 'secret',
  attribution: NO_ATTRIBUTION,
};
const NEVER = new AbortController().signal;
const ISSUED: StsOutcome = {
  ok: true,
  value: { accessKeyId: 'ASIA', secretAccessKey: 'S', sessionToken: 'T', expiresAtMs: 0, issuedAtMs: 0 },
  grantedMs: 0,
  clockOffsetMs: 0,
  packedPolicyPercent: 0,
};

describe('what has happened at a server', () => {
  it('calls to STS are counted by the minute, and an hour later they are forgotten', async () => {
    const clock = new ManualClock();
    const history = new StsHistory(clock);
    history.ended('answered');
    history.ended('throttled');
    await clock.advance(MINUTE_MS);
    history.ended('failed');
    assert.deepEqual(
      history.lastHour().map(({ calls, failures, throttled }) => [calls, failures, throttled]),
      [
        [2, 1, 1],
        [1, 1, 0],
      ],
    );
    await clock.advance(59 * MINUTE_MS);
    assert.deepEqual(
      history.lastHour().map(({ calls }) => calls),
      [1],
    );
    for (let call = 0; call < 500; call += 1) {
      history.ended('answered');
      await clock.advance(MINUTE_MS);
    }
    assert.ok(history.lastHour().length <= 60);
  });

  it('events of a kind within a minute are one, and no kind takes the place of another', async () => {
    const clock = new ManualClock();
    const events = new RecentEvents(clock);
    events.add('revoked', 'team/app', 'policy forbids its role');
    for (let node = 0; node < 500; node += 1) events.add('node-came', `node-${node}`);
    const [came, revoked] = events.all();
    assert.deepEqual([came?.count, came?.subjects.length], [500, 5]);
    assert.deepEqual(revoked?.subjects, ['team/app']);
    for (let minute = 0; minute < 100; minute += 1) {
      await clock.advance(MINUTE_MS);
      events.add('node-left', 'x'.repeat(100_000), 'y'.repeat(100_000));
    }
    assert.equal(events.all().length, 42);
    assert.equal(events.all().at(-1)?.kind, 'revoked');
    assert.ok(JSON.stringify(events.all()).length < 42 * 800);
  });

  it('a role that STS begins to fail for is one event, however often it is tried, and its end another', async () => {
    const clock = new ManualClock();
    const { watched, events, sts } = createActivity(clock, new NodeFeeds());
    let outcome: StsOutcome = unavailable('STS is away');
    const gateway = watched({ assumeRole: () => Promise.resolve(outcome) });
    for (let call = 0; call < 3; call += 1) await gateway.assumeRole(READER, NEVER);
    outcome = ISSUED;
    for (let call = 0; call < 3; call += 1) await gateway.assumeRole(READER, NEVER);
    assert.deepEqual(
      events.all().map(({ kind, count, subjects, detail }) => [kind, count, subjects, detail]),
      [
        ['sts-recovered', 1, [READER.roleArn], ''],
        ['sts-failed', 1, [READER.roleArn], 'unavailable'],
      ],
    );
    assert.deepEqual(
      sts.lastHour().map(({ calls, failures }) => [calls, failures]),
      [[6, 3]],
    );
    assert.doesNotMatch(JSON.stringify(events.all()), /secret|ASIA/);
  });

  it('a node that comes and goes, and a pod that loses its role, are events', () => {
    const clock = new ManualClock();
    const feeds = new NodeFeeds();
    const { events, noteRevoked } = createActivity(clock, feeds);
    const feed = { inspect: () => assert.fail('nobody looks') };
    const first = feeds.add({ by: 'address', address: '10.0.1.12' }, feed);
    const second = feeds.add({ by: 'address', address: '10.0.1.12' }, { ...feed });
    first();
    second();
    noteRevoked(podRecord({ namespace: 'team', name: 'app' }));
    noteRevoked(podRecord({ namespace: 'team', name: 'other', role: '' }));
    assert.deepEqual(
      events.all().map(({ kind, subjects, detail }) => [kind, subjects[0], detail]),
      [
        ['revoked', 'team/other', 'it has no role any more'],
        ['revoked', 'team/app', 'policy forbids it'],
        ['node-left', '10.0.1.12', ''],
        ['node-came', '10.0.1.12', ''],
      ],
    );
  });
});
