import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';

import { systemClock } from '#runtime/clock.ts';
import { createTimeBudget } from '#runtime/turn-budget.ts';
import { Overview } from '#page/overview.ts';
import type { OverviewAnswer } from '#page/wire.ts';
import type { RecentEvent } from '#server/status/history.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { ManualClock } from '../../support/manual-clock.ts';

const REPLICA: ServerStatus['replica'] = {
  name: 'kiam-server-0',
  process: 1,
  version: '0.1.0',
  waitingFor: [],
  viewAgeSeconds: 1,
  viewProblem: null,
  streams: 1,
  certificateDaysLeft: 300,
  sts: { limit: 128, inFlight: 0, waiting: 0, paused: false, callsPerSecond: null },
};

function statusOf(nodes: number, identities: number): ServerStatus {
  return {
    replica: REPLICA,
    nodes: Array.from({ length: nodes }, (_, index) => ({
      node: `node-${index}`,
      streams: 1,
      synced: true,
      pods: 20,
      failing: 0,
      waiting: 0,
      agent: null,
    })),
    identities: Array.from({ length: identities }, (_, index) => ({
      roleArn: `arn:aws:iam::123456789012:role/team/role-${index}`,
      sessionName: 'kiam-kiam',
      attribution: [],
      namespaces: ['team'],
      pods: 5,
      issuedAt: 1_700_000_000,
      expiresAt: 1_700_003_600,
      remainingSeconds: 1800,
      lastAnswer: 'ok',
      calls: 1,
      failures: 0,
    })),
    failing: [],
    namespaces: [],
    pods: nodes * 20,
    leftOut: { identities: 0, failing: 0 },
  };
}

function overviewThat(first: ServerStatus) {
  const clock = new ManualClock();
  const world = { status: first, collected: 0, events: new Array<RecentEvent>() };
  const overview = new Overview({
    status: () => {
      world.collected += 1;
      return Promise.resolve(world.status);
    },
    events: () => world.events,
    sts: () => [],
    clock,
    awaitTurn: () => Promise.resolve(),
  });
  return {
    clock,
    world,
    ask: async (cursor = ''): Promise<OverviewAnswer> => {
      const text = await overview.since(cursor);
      assert.ok(text !== undefined);
      const answer: OverviewAnswer = JSON.parse(text);
      return answer;
    },
  };
}

describe('the overview of the page', () => {
  it('the overview is whole at first, and then only what has changed', async () => {
    const { clock, world, ask } = overviewThat(statusOf(3, 2));
    const first = await ask();
    assert.equal(first.isWhole, true);
    assert.deepEqual([first.tables.nodes.rows.length, first.tables.identities.rows.length], [3, 2]);
    await clock.advance(2000);
    const second = await ask(first.cursor);
    assert.equal(second.isWhole, false);
    assert.ok(Object.values(second.tables).every(({ rows, gone }) => rows.length + gone.length === 0));
    const [, ...nodes] = statusOf(3, 2).nodes;
    world.status = {
      ...statusOf(3, 2),
      nodes: nodes.map((node) => (node.node === 'node-2' ? { ...node, failing: 1 } : node)),
      failing: [{ pod: 'team/app', node: 'node-2', reason: 'STS failed' }],
    };
    await clock.advance(2000);
    const third = await ask(second.cursor);
    assert.deepEqual(
      third.tables.nodes.rows.map(([key, row]) => [key, row.failing]),
      [['node-2', 1]],
    );
    assert.deepEqual(third.tables.nodes.gone, ['node-0']);
    assert.deepEqual(
      third.tables.failing.rows.map(([key]) => key),
      ['team/app'],
    );
    // Another page that has missed the second answer gets the same.
    assert.deepEqual((await ask(first.cursor)).tables, third.tables);
  });

  it('the overview is whole for a cursor of another process, from the future, or of nobody', async () => {
    const { ask } = overviewThat(statusOf(3, 2));
    const { cursor } = await ask();
    const [epoch] = cursor.split('.');
    for (const foreign of ['', 'x', `${epoch}.99`, `${epoch}.-1`, `${epoch}.NaN`, 'other.1', '.', '1.1.1']) {
      const { isWhole, tables } = await ask(foreign);
      assert.deepEqual([isWhole, tables.nodes.rows.length], [true, 3], foreign);
    }
  });

  it('the overview looks at the pods every second and a half at most, however many pages are open', async () => {
    const { clock, world, ask } = overviewThat(statusOf(3, 2));
    await Promise.all(Array.from({ length: 50 }, () => ask()));
    for (let page = 0; page < 50; page += 1) await ask();
    assert.equal(world.collected, 1);
    await clock.advance(1500);
    await ask();
    assert.equal(world.collected, 2);
  });

  it('the overview forgets everything once nobody asks', async () => {
    const { clock, world, ask } = overviewThat(statusOf(3, 2));
    const { cursor } = await ask();
    await clock.advance(31_000);
    const collected = world.collected;
    const { isWhole, tables } = await ask(cursor);
    assert.equal(world.collected, collected + 1, 'nothing looks by itself');
    assert.deepEqual([isWhole, tables.nodes.rows.length], [true, 3]);
  });

  it('the overview tells identities apart that differ in their external ids alone', async () => {
    const [identity] = statusOf(1, 1).identities;
    assert.ok(identity !== undefined);
    const { ask } = overviewThat({ ...statusOf(1, 1), identities: [identity, { ...identity, failures: 3 }] });
    const { tables } = await ask();
    assert.deepEqual(
      tables.identities.rows.map(([, row]) => row.failures),
      [0, 3],
    );
  });

  it('the overview of 1,000 nodes and 2,000 identities holds the server up for less than 20 ms of its time', async () => {
    const overview = new Overview({
      status: () => Promise.resolve(statusOf(1000, 2000)),
      events: () => [],
      sts: () => [],
      clock: systemClock,
      awaitTurn: createTimeBudget(systemClock, 5),
    });
    const state = { isDone: false, longestMs: 0 };
    const working = (async () => {
      for (let cursor = ''; cursor.split('.')[1] !== '2';) {
        // Reading all of it would be this test's time.
        cursor = /"cursor":"([^"]*)"/.exec((await overview.since(cursor)) ?? '')?.[1] ?? assert.fail();
        await systemPause(1600);
      }
    })().finally(() => (state.isDone = true));
    // The time of this thread, not of the clock: others use the machine as well.
    let before = threadMs();
    while (!state.isDone) {
      await nextTurn();
      const now = threadMs();
      state.longestMs = Math.max(state.longestMs, now - before);
      before = now;
    }
    await working;
    assert.ok(state.longestMs < 20, `${state.longestMs} ms`);
  });
});

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function systemPause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
