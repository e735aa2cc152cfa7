import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status } from '@grpc/grpc-js';

import { NodeReporter } from '#agent/node/reporter.ts';
import type { NodeReport } from '#domain/node-readiness.ts';
import type { SendReport } from '#rpc/client.ts';

import { ManualClock } from '../../../support/manual-clock.ts';

/** An agent whose problems a test sets, before a server that answers with the code that the test sets. */
function agentThat(first: Readonly<Record<string, string>> = {}) {
  const clock = new ManualClock();
  const problems = new Map(Object.entries(first));
  const sent: string[] = [];
  const server: { code: status } = { code: status.OK };
  const reporter = new NodeReporter({
    clock,
    random: () => 1,
    concerns: () =>
      ['RedirectOrGuardMissing', 'NoServerAnswers'].map((reason) => ({ reason, problem: () => problems.get(reason) })),
  });
  const send: SendReport = ({ ready, reason, message }: NodeReport) => {
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
  return { clock, problems, sent, server, open };
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
