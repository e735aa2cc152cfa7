import assert from 'node:assert/strict';
import { test } from 'node:test';

import { measureReplicaCalls } from '../../support/replica-calls.ts';

const SIZE = { hours: 12, identities: 8, nodes: 12 };

/** With the first call of each, which is a twelfth here. */
const MOST = 2.1 + 1 / SIZE.hours;

for (const replicas of [1, 5]) {
  test(`${replicas} replicas: an identity is fetched and renewed by the replica of its node alone`, async (t) => {
    const setting = { replicas, spread: 'one node', hasStreams: true, isRolledOut: false } as const;
    const { perIdentityHour } = await measureReplicaCalls(setting, SIZE);
    t.diagnostic(`${perIdentityHour.toFixed(2)} calls for each identity and hour`);
    assert.ok(perIdentityHour <= MOST && perIdentityHour >= 1.9, `${perIdentityHour}`);
  });
}

test('an identity on the nodes of several replicas is fetched by each of those, and by no other', async (t) => {
  const setting = { replicas: 3, spread: 'three nodes', hasStreams: true, isRolledOut: false } as const;
  const { perIdentityHour, perIdentityReplicaHour } = await measureReplicaCalls(setting, SIZE);
  t.diagnostic(
    `${perIdentityHour.toFixed(2)} for each identity, ${perIdentityReplicaHour.toFixed(2)} for each of its replicas`,
  );
  assert.ok(perIdentityReplicaHour <= MOST, `${perIdentityReplicaHour}`);
  assert.ok(perIdentityHour < 3 * MOST, `${perIdentityHour}`);
});

test('a rollout of three replicas costs three calls for each identity at most', async (t) => {
  const setting = { replicas: 3, spread: 'one node', hasStreams: true, isRolledOut: true } as const;
  const { perIdentityHour } = await measureReplicaCalls(setting, SIZE);
  t.diagnostic(`${perIdentityHour.toFixed(2)} calls for each identity and hour`);
  assert.ok(perIdentityHour <= MOST + 3 / SIZE.hours, `${perIdentityHour}`);
});

test("Kiam's agents, which have no streams, have every replica prefetch as before", async () => {
  const setting = { replicas: 2, spread: 'one node', hasStreams: false, isRolledOut: false } as const;
  const { perIdentityHour } = await measureReplicaCalls(setting, SIZE);
  assert.ok(perIdentityHour > 3.9, `${perIdentityHour}`);
});
