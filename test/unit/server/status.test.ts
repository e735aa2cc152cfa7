import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';

import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import type { CredentialInspection, StsPace } from '#domain/credentials.ts';
import { systemClock } from '#runtime/clock.ts';
import { createTimeBudget, createTurnBudget } from '#runtime/turn-budget.ts';
import { NodeFeeds } from '#server/node-feeds.ts';
import { NodeReports } from '#server/node-reports.ts';
import { collectStatus, type StatusOptions } from '#server/status/collect.ts';
import { statusText } from '#server/status/render.ts';
import type { AgentStatus, ServerStatus } from '#server/status/server-status.ts';

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

const AGENT: AgentStatus = {
  version: '0.1.0',
  isReady: true,
  notReadyBecause: '',
  redirect: 'present',
  guard: 'present',
  pods: 1,
  lastError: null,
  lastErrorSecondsAgo: null,
};

const EVIL_NODE = { streams: 1, synced: true, pods: 1, failing: 0, waiting: 0 };

const NOW_MS = Date.UTC(2026, 0, 1);

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
      byUid: () => undefined,
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
    feeds: new NodeFeeds(),
    reports: new NodeReports(),
    index: { podsOn: () => new Set() },
    nowMs: () => NOW_MS,
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

  it('the status has every node with a stream: its agent, whether that is ready, and what it complained of', async () => {
    const feeds = new NodeFeeds();
    const reports = new NodeReports();
    const details = { version: '0.2.0', redirect: 'present', guard: 'missing', lastError: undefined, pods: 7 } as const;
    const inspected = { openForMs: 1, isSynced: true, isBehind: false, isChanging: false, identityKey: undefined };
    const open = (name: string, peer: string): void => {
      const node = { by: 'name', name } as const;
      feeds.add(node, { inspect: () => ({ ...inspected, peer, hasCredentials: false }) });
      reports.opened(node, peer);
    };
    open('node-1', '192.0.2.1:1');
    open('empty', '192.0.2.2:1');
    open('older', '192.0.2.3:1');
    const broken = { ready: false, reason: 'RedirectOrGuardMissing', message: 'guard (ipv4): gone' };
    const ready = { ready: true, reason: 'AgentReady', message: '' };
    const lastError = { text: 'no server answers', atMs: NOW_MS - 5000 };
    assert.ok(reports.take({ by: 'name', name: 'node-1' }, '192.0.2.1:1', broken, details));
    assert.ok(
      reports.take({ by: 'name', name: 'empty' }, '192.0.2.2:1', ready, { ...details, guard: 'present', lastError }),
    );
    assert.ok(reports.take({ by: 'name', name: 'older' }, '192.0.2.3:1', ready));
    const options = { ...optionsFor(3, () => false), feeds, reports };
    const status = await collectStatus(options, '');
    const agents = status.nodes.map(({ node, streams, agent }) => [node, streams, agent?.version, agent?.isReady]);
    assert.deepEqual(agents, [
      ['empty', 1, '0.2.0', true],
      ['node-0', 0, undefined, undefined],
      ['node-1', 1, '0.2.0', false],
      ['node-2', 0, undefined, undefined],
      ['older', 1, undefined, undefined],
    ]);
    assert.deepEqual(
      (await collectStatus(options, 'team-0')).nodes.map(({ node }) => node),
      ['node-0'],
    );
    const text = statusText(
      [
        await collectStatus(
          optionsFor(3, () => false),
          '',
        ),
        status,
      ],
      { colours: false, failingOnly: false },
    );
    assert.match(text, /^node-1 +0\.2\.0 +present +missing +1 +0 +not ready$/m);
    assert.match(text, /^empty +0\.2\.0 +present +present +0 +0 +ready$/m);
    assert.match(text, /^older +\? +\? +\? +0 +0 +synced$/m);
    assert.match(text, /^node-0 +\? +\? +\? +1 +0 +no stream$/m);
    assert.match(text, /^ {2}node-1: guard \(ipv4\): gone$/m);
    assert.match(text, /^ {2}empty, 5\.0s ago: no server answers$/m);
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
      nodes: [
        {
          node: evil,
          streams: 1,
          synced: true,
          pods: 1,
          failing: 1,
          waiting: 0,
          agent: { ...AGENT, version: evil, isReady: false, notReadyBecause: evil, lastError: evil },
        },
        { ...EVIL_NODE, node: `${evil}2`, agent: { ...AGENT, lastError: evil, lastErrorSecondsAgo: 3 } },
      ],
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
