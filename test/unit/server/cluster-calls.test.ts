import assert from 'node:assert/strict';
import { test } from 'node:test';

import { measureClusterCalls, type ClusterSetting, type KindFigures } from '../../support/cluster-calls.ts';

const HOURS = 5;
const STEADY = { fromMinute: 60, toMinute: 60 + HOURS * 60 };
const CLUSTER = { nodes: 40, replicas: 1, daemonSets: 16, deployments: 32, cronJobMinutes: [] };

test('one replica calls STS 2.1 times an hour at most for each identity, and as often with four times the nodes', async (t) => {
  const few = await kindsOf(CLUSTER);
  const many = await kindsOf({ ...CLUSTER, nodes: 160 });
  for (const kind of ['deployment', 'daemonset']) {
    const [withFew, withMany] = [few(kind), many(kind)].map(({ calls, identities }) => calls / identities / HOURS);
    t.diagnostic(`${kind}: ${withFew?.toFixed(2)} and ${withMany?.toFixed(2)} calls for each identity and hour`);
    for (const calls of [withFew, withMany]) assert.ok(calls !== undefined && calls <= 2.1 && calls >= 1.9, `${calls}`);
  }
});

test('three replicas call 2.1 times an hour at most for each identity and replica that has one of its nodes', async (t) => {
  const kinds = await kindsOf({ ...CLUSTER, replicas: 3 });
  const { calls, homes, identities } = kinds('deployment');
  t.diagnostic(
    `${homes} homes of ${identities} identities, ${(calls / homes / HOURS).toFixed(2)} calls for each and hour`,
  );
  assert.ok(homes > identities && homes < identities * 3, `${homes}`);
  assert.ok(calls / homes / HOURS <= 2.1 && calls / homes / HOURS >= 1.9, `${calls / homes / HOURS}`);
  assert.equal(kinds('daemonset').homes, 3 * CLUSTER.daemonSets);
});

test('the runs of a CronJob after the first cost no call of STS as long as the set of the first is fresh', async () => {
  const cluster = { ...CLUSTER, daemonSets: 0, deployments: 0, cronJobMinutes: Array.from({ length: 8 }, () => 5) };
  const kinds = await kindsOf(cluster, { fromMinute: 0, toMinute: 25 });
  const { runs, calls, identities } = kinds('cronjob 5');
  assert.equal(runs, 5 * identities);
  assert.equal(calls, identities);
});

test('a CronJob costs each replica 2.1 calls an hour at most, however often it runs, and never more than one for a run', async (t) => {
  const cronJobMinutes = [3, 5, 60].flatMap((minutes) => Array.from({ length: 8 }, () => minutes));
  for (const replicas of [1, 3]) {
    const kinds = await kindsOf({ ...CLUSTER, daemonSets: 0, deployments: 0, replicas, cronJobMinutes });
    for (const minutes of [3, 5, 60]) {
      const { runs, calls, identities } = kinds(`cronjob ${minutes}`);
      const perHour = calls / identities / HOURS;
      t.diagnostic(`${replicas} replicas, every ${minutes} minutes: ${perHour.toFixed(2)} calls an hour`);
      assert.ok(calls > 0 && perHour <= 2.1 * replicas, `${perHour}`);
      assert.ok(calls <= runs, `${calls} calls for ${runs} runs`);
    }
  }
});

async function kindsOf(setting: ClusterSetting, period = STEADY): Promise<(kind: string) => KindFigures> {
  const kinds = await measureClusterCalls(setting, period);
  return (kind) => {
    const figures = kinds.get(kind);
    if (figures === undefined) throw new Error(`no ${kind}`);
    return figures;
  };
}
