import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { CredentialInspection } from '#domain/credentials.ts';
import { findMatchingPods, type MatchingPodsOptions } from '#page/find-pods.ts';
import { createTimeBudget } from '#runtime/turn-budget.ts';
import { systemClock } from '#runtime/clock.ts';

import { workloadPod } from '../../support/leaving-cluster.ts';

const ARN = 'arn:aws:iam::123456789012:role/';
const NOTHING: CredentialInspection = {
  held: undefined,
  failure: undefined,
  isCalling: false,
  next: undefined,
  isPaused: false,
  calls: 0,
};

function optionsFor(count: number): MatchingPodsOptions {
  const pods = Array.from({ length: count }, (_, index) =>
    workloadPod({
      name: `App-${index}`,
      namespace: `team-${index % 50}`,
      role: index % 1000 === 999 ? 'forbidden' : `role-${index % 200}`,
      nodeName: `node-${index % 100}`,
    }),
  );
  return {
    pods: { pods: () => pods, find: () => ({ kind: 'none' }) },
    nodeOf: () => undefined,
    identify: ({ role }) =>
      role === 'forbidden'
        ? undefined
        : { roleArn: ARN + role, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION },
    credentials: { inspect: () => NOTHING },
    feeds: { ofPod: () => [] },
    servesTokens: false,
    awaitTurn: createTimeBudget(systemClock, 5),
  };
}
const ALL = { search: '', node: '', roleArn: '' };

describe('the search of the page', () => {
  it('the search finds pods by a part of anything, in any case, and those that fail come first', async () => {
    const { found, pods } = await findMatchingPods(optionsFor(10_000), { ...ALL, search: 'TEAM-49/app-9' });
    assert.equal(found, 23);
    assert.deepEqual(
      pods.filter(({ state }) => state === 'failing').map(({ pod }) => pod),
      pods.slice(0, 2).map(({ pod }) => pod),
    );
    assert.equal((await findMatchingPods(optionsFor(1000), { ...ALL, node: 'node-7' })).found, 10);
    assert.equal((await findMatchingPods(optionsFor(1000), { ...ALL, roleArn: `${ARN}role-3` })).found, 5);
    assert.equal((await findMatchingPods(optionsFor(1000), { ...ALL, search: 'nobody' })).found, 0);
  });

  it('the search tells the worst hundred of 10,000 in turns, and how many there are', async () => {
    const state = { turns: 0, isDone: false };
    const finding = findMatchingPods(optionsFor(10_000), ALL).finally(() => (state.isDone = true));
    while (!state.isDone) {
      await nextTurn();
      state.turns += 1;
    }
    const { found, pods } = await finding;
    assert.deepEqual([found, pods.length], [10_000, 100]);
    assert.equal(pods.filter((pod) => pod.state === 'failing').length, 10);
    assert.equal(pods[0]?.state, 'failing');
    assert.ok(state.turns > 1);
  });
});
