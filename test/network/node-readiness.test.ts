import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { CONDITION_TYPE, STARTUP_TAINT } from '#domain/node-readiness.ts';
import { createAuthority } from '#pki/authority.ts';
import { issueCertificateFiles } from '#sandbox/certificate-files.ts';
import type { Child } from '#sandbox/child.ts';
import { at, isJsonObject, type JsonObject, listAt, textAt } from '#sandbox/json.ts';
import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';

import { eventually } from '../support/eventually.ts';
import { whileLocked } from '../support/held-lock.ts';
import { createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const RULES = [
  ...SERVER_RULES,
  { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] },
];
const TAINT = { key: STARTUP_TAINT, effect: 'NoSchedule' };
const OTHER_TAINT = { key: 'example.com/other', effect: 'NoSchedule' };
/** A Node whose agent is not heard waits for 40 s; the rest is for a busy machine. */
const LIMIT_MS = 70_000;

describe('a node that joins with the start-up taint', { skip: await networkSkip(), timeout: 300_000 }, () => {
  let folder: string;
  let node: KernelNode;
  let server: Child;
  let agent: Child | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kiam-other-authority-'));
    node = await createKernelNode({
      label: 'ready',
      backend: 'legacy',
      serverRules: RULES,
      taints: [OTHER_TAINT, TAINT],
    });
    node.world.namespace('kube-system', '');
    node.world.namespace('team', '.*');
    await node.world.pod({
      namespace: 'kube-system',
      name: 'kiam-agent-1',
      nodeName: 'node-1',
      hostNetwork: true,
      serviceAccount: 'kiam-agent',
    });
    server = await node.startServer(['--node-readiness=taint']);
  });
  after(async () => {
    await node.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const condition = (): JsonObject => {
    const found = listAt(node.world.api.node('node-1'), 'status', 'conditions').find(
      (entry) => textAt(entry, 'type') === CONDITION_TYPE,
    );
    return isJsonObject(found) ? found : {};
  };
  const taints = (): readonly string[] =>
    listAt(node.world.api.node('node-1'), 'spec', 'taints').map((taint) => textAt(taint, 'key'));
  const becomes = (status: string, reason: string): Promise<unknown> =>
    eventually(`the condition is ${status} ${reason}`, LIMIT_MS, () => {
      const { status: seen, reason: why } = condition();
      return Promise.resolve(seen === status && why === reason);
    });

  it('a node whose agent has a certificate of another authority stays tainted, and its condition says why', async () => {
    const authority = await createAuthority({ commonName: 'another' });
    agent = node.startAgent({ certificates: await issueCertificateFiles({ authority, folder }) });
    await becomes('Unknown', 'AgentHandshakeFailed');
    assert.match(
      textAt(condition(), 'message'),
      /TLS handshakes of the agent kube-system\/kiam-agent-1 fail; its certificate/,
    );
    assert.deepEqual(taints(), [OTHER_TAINT.key, STARTUP_TAINT]);
    await agent.stop('SIGKILL');
  });

  it('a node whose agent can work loses the taint and no other, once redirect and guard are in place', async () => {
    const startedMs = performance.now();
    agent = node.startAgent();
    await eventually('the start-up taint is off', LIMIT_MS, () => {
      const left = taints();
      if (left.includes(STARTUP_TAINT)) return Promise.resolve(false);
      assert.deepEqual(left, [OTHER_TAINT.key]);
      return Promise.resolve(true);
    });
    assert.deepEqual([condition()['status'], condition()['reason']], ['True', 'AgentReady']);
    assert.ok(performance.now() - startedMs < 30_000);
    for (const family of ['iptables-legacy', 'ip6tables-legacy']) {
      const rules = await node.onNode(family, '-S', 'FORWARD');
      assert.match(rules, /kiam-guard/);
      assert.match(await node.onNode(family, '-t', 'nat', '-S', 'PREROUTING'), /--to-destination/);
    }
  });

  it('a taint that somebody restores for 30 seconds is taken off each time', async () => {
    for (let second = 0; second < 30; second += 1) {
      node.world.api.patchNode('node-1', { spec: { taints: [TAINT, OTHER_TAINT] } });
      await eventually('it is off again', 5000, () => Promise.resolve(!taints().includes(STARTUP_TAINT)));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    assert.deepEqual(taints(), [OTHER_TAINT.key]);
  });

  it('rules that are flushed and back within two seconds do not change the condition; an agent that cannot keep them does', async () => {
    const since = textAt(condition(), 'lastTransitionTime');
    for (const table of ['nat', 'filter']) await node.onNode('iptables-legacy', '-t', table, '-F');
    await new Promise((resolve) => setTimeout(resolve, 7000));
    assert.deepEqual([condition()['status'], condition()['lastTransitionTime']], ['True', since]);
    // Rules can be neither read nor put in place while another program holds the lock.
    await whileLocked(node.lockFile, async () => {
      await becomes('False', 'RedirectOrGuardMissing');
      // The lock may be taken between the looks at two families.
      assert.match(textAt(condition(), 'message'), /(guard|redirect) \(ipv[46]\)/);
    });
    await becomes('True', 'AgentReady');
    assert.deepEqual(taints(), [OTHER_TAINT.key]);
  });

  it('a node whose agent is replaced keeps its condition, beside its successor or after it', async () => {
    const since = textAt(condition(), 'lastTransitionTime');
    const next = node.startAgent();
    await next.line(/"msg":"listening"/);
    await agent?.stop('SIGTERM');
    await next.stop('SIGTERM');
    agent = node.startAgent();
    await agent.line(/"msg":"listening"/);
    await new Promise((resolve) => setTimeout(resolve, 6000));
    assert.deepEqual([condition()['status'], condition()['lastTransitionTime']], ['True', since]);
  });

  it('a node whose agent has gone is Unknown after 40 seconds, and no taint is put on it', async () => {
    await agent?.stop('SIGKILL');
    await becomes('Unknown', 'AgentSilent');
    assert.equal(
      at(condition(), 'message'),
      'the agent kube-system/kiam-agent-1 runs and does not report to a server: see its log',
    );
    assert.deepEqual(taints(), [OTHER_TAINT.key]);
    assert.ok(server.lines.some((line) => line.includes('the start-up taint was taken off a node')));
  });
});
