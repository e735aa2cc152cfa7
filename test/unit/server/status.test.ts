import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { CredentialInspection, StsPace } from '#domain/credentials.ts';
import { systemClock } from '#runtime/clock.ts';
import { createTimeBudget, createTurnBudget } from '#runtime/turn-budget.ts';
import { collectStatus, type StatusOptions } from '#server/status/collect.ts';
import { statusText } from '#server/status/render.ts';
import type { ServerStatus } from '#server/status/server-status.ts';

import { workloadPod } from '../../support/leaving-cluster.ts';

const ARN = 'arn:aws:iam::123456789012:role/';

const HELD: CredentialInspection = {
  held: { isServed: true, issuedAtMs: 0, expiresAtMs: 3_600_000, remainingMs: 1_800_000 },
  failure: undefined,
  isCalling: false,
  next: undefined,
  isPaused: false,
  calls: 3,
};

const PACE: StsPace = { limit: 128, inFlight: 2, waiting: 0, paused: false, callsPerSecond: null };

const REFUSED: CredentialInspection = {
  ...HELD,
  held: undefined,
  failure: { category: 'denied', code: 'AccessDenied', detail: 'AccessDenied: no', agoMs: 1, count: 2 },
};

function optionsFor(count: number, fails: (index: number) => boolean): StatusOptions {
  const pods = Array.from({ length: count }, (_, index) =>
    workloadPod({
      name: `pod-${index}`,
      namespace: `team-${index % 50}`,
      role: fails(index) ? `bad-${index}` : `role-${index % 500}`,
      addresses: [`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`],
      nodeName: `node-${index % 200}`,
    }),
  );
  const byAddress = new Map(pods.map((pod) => [pod.addresses[0] ?? '', pod]));
  return {
    replica: () => ({
      name: 'kiam-server-0',
      process: 1,
      version: '0.1.0',
      waitingFor: [],
      viewAgeSeconds: 1,
      viewProblem: null,
      streams: 200,
      certificateDaysLeft: 300,
      sts: PACE,
    }),
    pods: {
      pods: () => pods,
      find: (address) => {
        const pod = byAddress.get(address);
        return pod === undefined ? { kind: 'none' } : { kind: 'found', pod };
      },
    },
    namespaces: { get: (name) => ({ name, permitted: `${ARN}(role|bad)-.*` }) },
    nodeOf: () => undefined,
    servesTokens: true,
    identify: ({ role }) => ({ roleArn: ARN + role, sessionName: 'kiam', externalId: '', attribution: NO_ATTRIBUTION }),
    credentials: { inspect: ({ roleArn }) => (roleArn.startsWith(`${ARN}bad-`) ? REFUSED : HELD) },
    feeds: { ofPod: () => [] },
    explain: (namespace, name) => ({
      pod: `${namespace}/${name}`,
      isFound: true,
      outcome: 'gets nothing',
      because: 'STS failed: AccessDenied',
      links: [],
      source: '',
    }),
    baseArn: ARN,
    strict: true,
    awaitTurn: createTurnBudget(100),
  };
}

describe('the status of a server', () => {
  it('the status of 10,000 pods finds the one that fails, and leaves others their turn all the while', async () => {
    let turns = 0;
    const state = { isDone: false };
    const collecting = collectStatus(
      optionsFor(10_000, (index) => index === 7777),
      '',
    ).finally(() => (state.isDone = true));
    while (!state.isDone) {
      await nextTurn();
      turns += 1;
    }
    const { failing, identities, nodes, pods } = await collecting;
    assert.ok(turns >= 90, String(turns));
    assert.deepEqual(
      failing.map(({ pod, node }) => [pod, node]),
      [['team-27/pod-7777', 'node-177']],
    );
    assert.deepEqual([pods, nodes.length, identities.length], [10_000, 200, 501]);
    assert.deepEqual(identities[0]?.lastAnswer, 'AccessDenied: no');
  });

  it('the status of 10,000 pods with 10,000 identities holds nothing up for 20 ms of the time of its thread', async () => {
    const awaitTurn = createTimeBudget(systemClock, 5);
    const options = { ...optionsFor(10_000, () => true), awaitTurn };
    // The first round is for code that has not run yet.
    const longest = await longestTurns(3, () => collectStatus(options, ''));
    assert.ok(Math.min(...longest) < 20, longest.join(' ms, '));
  });

  it('the status says how much it leaves out', async () => {
    const { failing, leftOut, identities } = await collectStatus(
      optionsFor(3000, () => true),
      '',
    );
    assert.deepEqual([failing.length, leftOut.failing], [500, 2500]);
    assert.deepEqual([identities.length, leftOut.identities], [2000, 1000]);
    const text = statusText(
      [
        await collectStatus(
          optionsFor(600, () => true),
          '',
        ),
      ],
      { colours: false, failingOnly: true },
    );
    assert.match(text, /^600 pods fail/m);
    assert.match(text, /^\.\.\. and 580 more: --json has them$/m);
  });

  it('the status of several replicas is one: each pod, node and identity is there once', async () => {
    const one = await collectStatus(
      optionsFor(10, (index) => index === 3),
      '',
    );
    const text = statusText([one, one], { colours: false, failingOnly: false });
    assert.equal(text.match(/^kiam-server-0 /gm)?.length, 2);
    assert.equal(text.match(/team-3\/pod-3 on node-3$/gm)?.length, 1);
    assert.equal(text.match(/^node-3 /gm)?.length, 1);
    assert.equal(text.match(/role\/role-4 /g)?.length, 1);
    assert.match(text, /^1 pod fails/m);
  });

  it('the status has colours on a terminal alone, and text of foreign making is cut and printed as text', () => {
    const evil = `\u001b[2J\u202e<script>${'x'.repeat(70_000)}`;
    const status: ServerStatus = {
      replica: {
        name: evil,
        process: 1,
        version: evil,
        waitingFor: [evil],
        viewAgeSeconds: null,
        viewProblem: evil,
        streams: 0,
        certificateDaysLeft: null,
        sts: { ...PACE, callsPerSecond: 3.3333, waiting: 12_345 },
      },
      nodes: [{ node: evil, streams: 0, synced: false, pods: 1, failing: 1, waiting: 0 }],
      identities: [
        {
          roleArn: evil,
          sessionName: evil,
          attribution: [evil],
          namespaces: [evil],
          pods: 1,
          issuedAt: null,
          expiresAt: null,
          remainingSeconds: null,
          lastAnswer: evil,
          failures: 1,
          calls: 9,
        },
      ],
      failing: [{ pod: evil, node: evil, reason: evil }],
      namespaces: [{ name: evil, problem: evil, pods: 1 }],
      pods: 1,
      leftOut: { identities: 0, failing: 0 },
    };
    const plain = statusText([status], { colours: false, failingOnly: false });
    assert.match(plain, /^[\x20-\x7e\n]*$/);
    assert.ok(plain.split('\n').every((line) => line.length <= 100));
    const onTerminal = statusText([status], { colours: true, failingOnly: false });
    // oxlint-disable-next-line no-control-regex -- the colours themselves
    const withoutColours = onTerminal.replaceAll(/\u001b\[(31|32|33|0)m/g, '');
    assert.notEqual(withoutColours, onTerminal);
    assert.equal(withoutColours, plain);
  });
});

/** For each of so many rounds: how much of its thread's time the longest turn of the event loop took, in milliseconds. */
async function longestTurns(rounds: number, work: () => Promise<unknown>): Promise<readonly number[]> {
  const longest: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const state = { isDone: false, longestMs: 0 };
    void work().finally(() => (state.isDone = true));
    let beforeMs = threadMs();
    while (!state.isDone) {
      await nextTurn();
      state.longestMs = Math.max(state.longestMs, threadMs() - beforeMs);
      beforeMs = threadMs();
    }
    longest.push(state.longestMs);
  }
  return longest;
}

/** Others use the machine as well. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
