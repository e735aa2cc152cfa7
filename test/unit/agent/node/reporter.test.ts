import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status } from '@grpc/grpc-js';

import { NodeReporter } from '#agent/node/reporter.ts';
import type { LastError } from '#domain/node-details.ts';
import type { SendReport } from '#rpc/client.ts';
import type { WireNodeDetails } from '#rpc/contract.ts';

import { ManualClock } from '../../../support/manual-clock.ts';

const DETAILS = { version: '0.1.0', redirect: 'present', guard: 'present', lastError: undefined, pods: 3 } as const;

/** An agent whose problems a test sets, before a server that answers with the code that the test sets. */
function agentThat(first: Readonly<Record<string, string>> = {}) {
  const clock = new ManualClock();
  const problems = new Map(Object.entries(first));
  const sent: string[] = [];
  const detailsSent: (WireNodeDetails | null)[] = [];
  const changed: { pods?: number; lastError?: LastError } = {};
  const server: { code: status } = { code: status.OK };
  const reporter = new NodeReporter({
    clock,
    random: () => 1,
    details: () => ({ ...DETAILS, ...changed }),
    concerns: () =>
      ['RedirectOrGuardMissing', 'NoServerAnswers'].map((reason) => ({ reason, problem: () => problems.get(reason) })),
  });
  const send: SendReport = ({ ready, reason, message, details }) => {
    detailsSent.push(details);
    sent.push(ready ? 'ready' : `${reason}: ${message}`);
    return Promise.resolve(
      server.code === status.OK
        ? { ok: true, response: {} }
        : { ok: false, code: server.code, details: '', metadata: new Metadata() },
    );
  };
  /** Opens a stream; what is returned ends it. */
  const open = (): (() => void) => {
    const stream = new AbortController();
    void reporter.run(send, stream.signal);
    return () => stream.abort();
  };
  return { clock, problems, sent, detailsSent, changed, server, open };
}

describe('what an agent reports of its node', () => {
  it('an agent without problems says that it is ready, at once, and once for each stream', async () => {
    const agent = agentThat();
    const end = agent.open();
    await agent.clock.advance(0);
    assert.deepEqual(agent.sent, ['ready']);
    await agent.clock.advance(60_000);
    assert.deepEqual(agent.sent, ['ready']);
    end();
    agent.open();
    await agent.clock.advance(0);
    assert.deepEqual(agent.sent, ['ready', 'ready']);
  });

  it('an agent that starts says nothing until it is ready, or has had a problem for five seconds', async () => {
    const agent = agentThat({ RedirectOrGuardMissing: 'it has not been looked at yet' });
    agent.open();
    await agent.clock.advance(4800);
    assert.deepEqual(agent.sent, []);
    agent.problems.clear();
    await agent.clock.advance(200);
    assert.deepEqual(agent.sent, ['ready']);
  });

  it('an agent tells a problem that stays, its first one as the reason, and that it is over', async () => {
    const agent = agentThat();
    agent.open();
    await agent.clock.advance(1000);
    agent.problems.set('RedirectOrGuardMissing', 'guard (ipv4): gone');
    agent.problems.set('NoServerAnswers', 'no server answers');
    await agent.clock.advance(5400);
    agent.problems.clear();
    await agent.clock.advance(200);
    assert.deepEqual(agent.sent, ['ready', 'RedirectOrGuardMissing: guard (ipv4): gone; no server answers', 'ready']);
  });

  it('an agent whose rules are back within seconds does not tell of it', async () => {
    const agent = agentThat();
    agent.open();
    for (let flush = 0; flush < 5; flush += 1) {
      await agent.clock.advance(1000);
      agent.problems.set('RedirectOrGuardMissing', 'redirect (ipv4): gone');
      await agent.clock.advance(3000);
      agent.problems.clear();
      await agent.clock.advance(400);
    }
    assert.deepEqual(agent.sent, ['ready']);
  });

  it('an agent tells its version, its rules, its pods and its last error, and that they changed twice a minute at most', async () => {
    const agent = agentThat();
    agent.open();
    await agent.clock.advance(0);
    const first = { version: '0.1.0', redirect: 1, guard: 1, last_error: '', last_error_at_ms: 0, pods: 3 };
    assert.deepEqual(agent.detailsSent, [first]);
    for (let second = 0; second < 60; second += 1) {
      agent.changed.pods = second;
      await agent.clock.advance(1000);
    }
    assert.deepEqual(
      agent.detailsSent.slice(1).map((details) => details?.pods),
      [29, 59],
    );
    agent.changed.lastError = { text: 'no server answers', atMs: 5 };
    agent.problems.set('NoServerAnswers', 'no server answers');
    await agent.clock.advance(6000);
    assert.deepEqual([agent.detailsSent.length, agent.detailsSent.at(-1)?.last_error], [4, 'no server answers']);
  });

  it('a report that is not taken is sent again, ever more rarely', async () => {
    const agent = agentThat();
    agent.server.code = status.UNAVAILABLE;
    agent.open();
    await agent.clock.advance(60_000);
    assert.ok(agent.sent.length >= 7 && agent.sent.length <= 12, String(agent.sent.length));
    agent.server.code = status.OK;
    await agent.clock.advance(10_200);
    const told = agent.sent.length;
    await agent.clock.advance(60_000);
    assert.equal(agent.sent.length, told);
  });

  it('a server that does not know reports is asked once for each stream', async () => {
    const agent = agentThat();
    agent.server.code = status.UNIMPLEMENTED;
    agent.open();
    await agent.clock.advance(600_000);
    assert.equal(agent.sent.length, 1);
  });
});
