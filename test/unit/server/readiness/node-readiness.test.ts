import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { NodeCondition, NodeRecord, NodeReport } from '#domain/node-readiness.ts';
import type { PodRecord } from '#domain/pod.ts';
import { NodeReports } from '#server/node-reports.ts';
import type { ClusterNodes, NodeWrite } from '#server/ports.ts';
import { NodeReadiness } from '#server/readiness/node-readiness.ts';

import { ManualClock } from '../../../support/manual-clock.ts';
import { podRecord } from '../../../support/pods.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const NODE = { by: 'name', name: 'node-1' } as const;
const READY: NodeReport = { ready: true, reason: 'AgentReady', message: 'all is well' };
const BROKEN: NodeReport = { ready: false, reason: 'RedirectOrGuardMissing', message: 'guard (ipv4): gone' };
const AGENT = podRecord({ namespace: 'kube-system', name: 'kiam-agent-1', nodeName: 'node-1', phase: 'Running' });
const OTHER = podRecord({ namespace: 'kube-system', name: 'kiam-agent-2', nodeName: 'node-1', phase: 'Pending' });

/** A Node in the API, with all that its condition has been, and the replicas of the server that write it. */
function clusterOf({
  tainted = false,
  replicas: count = 1,
  mode = 'taint',
}: { tainted?: boolean; replicas?: number; mode?: 'condition' | 'taint' } = {}) {
  const clock = new ManualClock();
  const listeners = new Set<() => void>();
  const world = { agents: [AGENT] as PodRecord[], cannotConnect: false, fails: false };
  let version = 1;
  let node: NodeRecord = {
    uid: 'uid-1',
    name: 'node-1',
    resourceVersion: '1',
    addresses: ['198.51.100.1'],
    taintIndex: tainted ? 0 : -1,
    condition: undefined,
  };
  const history: string[] = [];
  const writes: string[] = [];
  const put = (change: Partial<NodeRecord>): void => {
    version += 1;
    node = { ...node, ...change, resourceVersion: String(version) };
    for (const tell of listeners) tell();
  };
  const write = (what: string, known: NodeRecord, change: () => void): Promise<NodeWrite> => {
    writes.push(what);
    if (world.fails) return Promise.resolve('failed');
    if (known.resourceVersion !== node.resourceVersion) return Promise.resolve('conflict');
    change();
    return Promise.resolve('done');
  };
  const nodes: ClusterNodes = {
    all: () => [node],
    get: () => node,
    isSynced: true,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    setCondition: (known, condition: NodeCondition) =>
      write(`condition ${condition.status}`, known, () => {
        const text = `${condition.status} ${condition.reason}`;
        if (history.at(-1) !== text) history.push(text);
        put({ condition });
      }),
    removeTaint: (known) => write('taint', known, () => put({ taintIndex: -1 })),
  };
  const metrics = { nodes: () => {}, wrote: () => {} };
  const replicas = Array.from({ length: count }, () => {
    const reports = new NodeReports();
    const stop = new AbortController();
    const readiness = new NodeReadiness({
      nodes,
      reports,
      agentsOn: () => world.agents,
      failsToConnect: () => world.cannotConnect,
      mode,
      clock,
      logger: recordingLogger().logger,
      metrics,
    });
    void readiness.run(stop.signal);
    return {
      stop: () => stop.abort(),
      /** An agent's stream; what is returned reports on it. */
      open: (peer: string) => {
        const end = reports.opened(NODE, peer);
        return { says: (report: NodeReport) => reports.take(NODE, peer, report), ends: end };
      },
    };
  });
  const [first, second = first] = replicas;
  assert.ok(first !== undefined && second !== undefined);
  return {
    clock,
    world,
    history,
    writes,
    first,
    second,
    taint: () => put({ taintIndex: 0 }),
    isTainted: () => node.taintIndex >= 0,
    condition: () => node.condition,
  };
}

describe('the condition of a Node', () => {
  it('the condition of a Node is as its agent reports it, within a fraction of a second', async () => {
    const cluster = clusterOf();
    const agent = cluster.first.open('192.0.2.1:1');
    await cluster.clock.advance(1000);
    assert.equal(cluster.condition(), undefined);
    agent.says(READY);
    await cluster.clock.advance(100);
    agent.says(BROKEN);
    await cluster.clock.advance(100);
    assert.deepEqual(cluster.history, ['True AgentReady', 'False RedirectOrGuardMissing']);
    assert.equal(cluster.condition()?.message, 'guard (ipv4): gone');
  });

  it('the condition of a Node keeps the time of its last change, and its heartbeat is renewed every five minutes', async () => {
    const cluster = clusterOf();
    cluster.first.open('192.0.2.1:1').says(READY);
    await cluster.clock.advance(1_200_000);
    const { lastTransitionTime = '', lastHeartbeatTime = '' } = cluster.condition() ?? {};
    assert.equal(lastTransitionTime, '2026-01-01T00:00:00Z');
    assert.match(lastHeartbeatTime, /^2026-01-01T00:(1[5-9]|20):/);
    assert.ok(cluster.writes.length <= 5, cluster.writes.join());
  });

  it('the condition of a Node becomes Unknown 40 seconds after its agent’s stream has gone, and says why', async () => {
    const cluster = clusterOf();
    const agent = cluster.first.open('192.0.2.1:1');
    agent.says(READY);
    await cluster.clock.advance(10_000);
    agent.ends();
    await cluster.clock.advance(39_000);
    assert.deepEqual(cluster.history, ['True AgentReady']);
    await cluster.clock.advance(2500);
    assert.deepEqual(cluster.history, ['True AgentReady', 'Unknown AgentSilent']);
    assert.match(cluster.condition()?.message ?? '', /kube-system\/kiam-agent-1 runs and does not report/);
  });

  for (const [what, agents, cannotConnect, expected] of [
    ['whose agent runs and is silent', [AGENT], false, 'Unknown AgentSilent'],
    ['whose agent has not started', [OTHER], false, 'Unknown AgentNotRunning'],
    ['whose agent’s TLS handshakes fail', [AGENT], true, 'Unknown AgentHandshakeFailed'],
    ['that waits for an agent and has no pod of one', [], false, 'Unknown NoAgent'],
  ] as const) {
    it(`a new Node ${what} stays tainted and says so`, async () => {
      const cluster = clusterOf({ tainted: true });
      cluster.world.agents = [...agents];
      cluster.world.cannotConnect = cannotConnect;
      await cluster.clock.advance(42_000);
      assert.deepEqual(cluster.history, [expected]);
      assert.equal(cluster.isTainted(), true);
      await cluster.clock.advance(60_000);
      assert.deepEqual(cluster.history, [expected]);
    });
  }

  it('a Node that is to have no agent gets no condition', async () => {
    const cluster = clusterOf();
    cluster.world.agents = [];
    await cluster.clock.advance(600_000);
    assert.deepEqual(cluster.writes, []);
  });

  for (const replicas of [1, 2]) {
    it(`an agent that is replaced beside its successor changes nothing, with ${replicas} server(s)`, async () => {
      const cluster = clusterOf({ replicas });
      const old = cluster.first.open('192.0.2.1:1');
      old.says(READY);
      await cluster.clock.advance(120_000);
      const next = cluster.second.open('192.0.2.1:2');
      next.says(BROKEN);
      await cluster.clock.advance(7000);
      next.says(READY);
      await cluster.clock.advance(500);
      old.ends();
      await cluster.clock.advance(1_000_000);
      assert.deepEqual(cluster.history, ['True AgentReady']);
    });

    it(`an agent that is replaced before its successor comes changes nothing, with ${replicas} server(s)`, async () => {
      const cluster = clusterOf({ replicas });
      const old = cluster.first.open('192.0.2.1:1');
      old.says(READY);
      await cluster.clock.advance(120_000);
      old.ends();
      await cluster.clock.advance(20_000);
      cluster.second.open('192.0.2.1:2').says(READY);
      await cluster.clock.advance(1_000_000);
      assert.deepEqual(cluster.history, ['True AgentReady']);
    });

    it(`a new agent that never works takes nothing from a Node whose old one does, with ${replicas} server(s)`, async () => {
      const cluster = clusterOf({ replicas });
      cluster.first.open('192.0.2.1:1').says(READY);
      await cluster.clock.advance(120_000);
      cluster.second.open('192.0.2.1:2').says(BROKEN);
      await cluster.clock.advance(1_000_000);
      assert.deepEqual(cluster.history, ['True AgentReady']);
    });
  }

  it('a stream that moves between servers changes nothing, and neither does the end of the first server', async () => {
    const cluster = clusterOf({ replicas: 2 });
    const before = cluster.first.open('192.0.2.1:1');
    before.says(READY);
    await cluster.clock.advance(120_000);
    before.ends();
    cluster.first.stop();
    cluster.second.open('192.0.2.1:2').says(READY);
    await cluster.clock.advance(1_000_000);
    assert.deepEqual(cluster.history, ['True AgentReady']);
  });

  it('an agent and the server that knew it may be lost together: another server says so seven minutes after its last word', async () => {
    const cluster = clusterOf({ replicas: 2 });
    cluster.first.open('192.0.2.1:1').says(READY);
    await cluster.clock.advance(60_000);
    cluster.first.stop();
    await cluster.clock.advance(350_000);
    assert.deepEqual(cluster.history, ['True AgentReady']);
    await cluster.clock.advance(15_000);
    assert.deepEqual(cluster.history, ['True AgentReady', 'Unknown AgentSilent']);
  });

  it('two servers that see no agent of a Node do not write against each other', async () => {
    const cluster = clusterOf({ replicas: 2 });
    await cluster.clock.advance(3_600_000);
    assert.deepEqual(cluster.history, ['Unknown AgentSilent']);
    assert.ok(cluster.writes.length <= 16, `${cluster.writes.length} writes in an hour`);
  });

  it('writes that fail are repeated with growing pauses', async () => {
    const cluster = clusterOf();
    cluster.world.fails = true;
    cluster.first.open('192.0.2.1:1').says(READY);
    await cluster.clock.advance(300_000);
    assert.ok(cluster.writes.length >= 10 && cluster.writes.length < 40, String(cluster.writes.length));
    cluster.world.fails = false;
    await cluster.clock.advance(32_000);
    assert.deepEqual(cluster.history, ['True AgentReady']);
  });
});

describe('the start-up taint', () => {
  it('the start-up taint is taken off once the condition is true, and never before', async () => {
    const cluster = clusterOf({ tainted: true });
    const agent = cluster.first.open('192.0.2.1:1');
    agent.says(BROKEN);
    await cluster.clock.advance(60_000);
    assert.equal(cluster.isTainted(), true);
    agent.says(READY);
    await cluster.clock.advance(100);
    assert.equal(cluster.isTainted(), false);
    assert.deepEqual(cluster.writes, ['condition False', 'condition True', 'taint']);
  });

  it('the start-up taint is taken off again whenever it comes back', async () => {
    const cluster = clusterOf({ tainted: true, replicas: 2 });
    cluster.first.open('192.0.2.1:1').says(READY);
    await cluster.clock.advance(100);
    for (let second = 0; second < 30; second += 1) {
      assert.equal(cluster.isTainted(), false);
      cluster.taint();
      await cluster.clock.advance(1000);
    }
    assert.equal(cluster.isTainted(), false);
    assert.deepEqual(cluster.history, ['True AgentReady']);
  });

  it('the start-up taint that comes back while no agent reports stays, though the condition is still true', async () => {
    const cluster = clusterOf({ tainted: true });
    const agent = cluster.first.open('192.0.2.1:1');
    agent.says(READY);
    await cluster.clock.advance(1000);
    agent.ends();
    cluster.taint();
    await cluster.clock.advance(30_000);
    assert.deepEqual([cluster.condition()?.status, cluster.isTainted()], ['True', true]);
    cluster.first.open('192.0.2.1:2').says(READY);
    await cluster.clock.advance(100);
    assert.equal(cluster.isTainted(), false);
  });

  it('the start-up taint is not touched without --node-readiness=taint, and nothing puts it on a Node that is not ready', async () => {
    const cluster = clusterOf({ tainted: true, mode: 'condition' });
    const agent = cluster.first.open('192.0.2.1:1');
    agent.says(READY);
    await cluster.clock.advance(60_000);
    assert.equal(cluster.isTainted(), true);
    const untainted = clusterOf();
    untainted.first.open('192.0.2.1:1').says(BROKEN);
    await untainted.clock.advance(60_000);
    assert.equal(untainted.isTainted(), false);
  });
});
