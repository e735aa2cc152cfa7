import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';

import type { Child } from '#sandbox/child.ts';

import { eventually } from '../support/eventually.ts';
import { whileLocked } from '../support/held-lock.ts';
import { AGENT_SERVES, createKernelNode, type KernelNode, OTHER_PORT } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { LANES, type PodPoller, startPodPoller, type Tallies } from '../support/pod-poller.ts';

const V4 = '169.254.169.254';
const V6 = 'fd00:ec2::254';
const skip = await networkSkip();

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

/**
 * The poller is more eager than any SDK, and its IPv6 address belongs to no pod that Kubernetes knows: no limit on its
 * requests, and no long wait for it to become known.
 */
const FLAGS = ['--pod-rate=0', '--pod-concurrency=0', '--wait=50ms'];

interface Row {
  readonly name: string;
  readonly attempts: number;
  readonly reached: number;
  /** Answers of the agent, by status; refusals and other failures, by code. */
  readonly outcomes: Readonly<Record<string, number>>;
}

/** The life of an agent on one node, with a pod that asks all the time. */
interface Life {
  readonly backend: 'nft' | 'legacy';
  readonly node: KernelNode;
  readonly poller: PodPoller;
  readonly rows: Row[];
}

describe('a pod never reaches the role of its node', { skip, concurrency: 2 }, () => {
  for (const backend of ['nft', 'legacy'] as const) {
    test(`a pod never reaches the role of its node through the life of an agent, iptables-${backend}`, async (t) => {
      const life = await begin(t, backend);
      const { node, poller, rows } = life;
      await eventually('without an agent the role of the node is there for all', 5000, async () => {
        const tallies = await poller.tallies();
        return LANES.every((lane) => tallies[lane].reached > 5);
      });
      assert.deepEqual(await tryOtherPort(poller), ['reached', 'reached']);
      assert.ok(node.strangers().includes('198.18.1.2'), 'the metadata service sees who asks');

      assert.deepEqual(await node.guardOnly(), { code: 0, signal: null });
      await turns(poller, 2);
      node.forgetStrangers();
      await live(life);

      for (const line of table(rows)) t.diagnostic(`${backend}: ${line}`);
      for (const { name, reached } of rows) assert.equal(reached, 0, name);
      assert.deepEqual(node.strangers(), [], 'the metadata service saw nobody but the node');
      assert.deepEqual(node.world.metadata.nodeRoleServedTo({ except: ['198.18.0.1', '198.18.1.2'] }), []);
      await endsAsTold(life);
    });
  }
});

async function begin(t: TestContext, backend: 'nft' | 'legacy'): Promise<Life> {
  const node = await createKernelNode({ label: backend, backend });
  t.after(() => node.remove());
  node.world.namespace('team', '.*');
  const pod = await node.world.pod({ namespace: 'team', name: 'app', role: 'app' });
  const poller = startPodPoller(node.podExec(pod.address), node.world.environment.clean);
  t.after(() => poller.stop());
  // Its process has started when it answers.
  await poller.tallies();
  return { backend, node, poller, rows: [] };
}

/** From `--guard-only`, before there is an agent, to an agent that hangs. */
async function live(life: Life): Promise<void> {
  const { node } = life;
  const happens = (name: string, what: () => Promise<unknown>): Promise<void> => note(life, name, what);
  await happens('the guard alone, no agent yet', () => Promise.resolve());

  let agent: Child;
  await happens('an agent starts without a server', async () => {
    agent = await startAgent(node);
    await isAnswered(life, '503');
  });
  await happens('an agent with a bad certificate', async () => {
    await agent.stop('SIGKILL');
    agent = await startAgent(node, { hasBadCertificate: true });
    await isAnswered(life, '503');
    await agent.stop('SIGKILL');
  });
  await happens('an agent starts, with a server', async () => {
    await node.startServer();
    agent = await startAgent(node);
    await isAnswered(life, '200');
  });
  await happens('SIGTERM', () => agent.stop('SIGTERM'));
  await happens('a start after it, then SIGKILL', async () => {
    agent = await startAgent(node);
    await isAnswered(life, '200');
    await agent.stop('SIGKILL');
  });
  await happens('a restart', async () => {
    agent = await startAgent(node);
    await agent.stop('SIGTERM');
    agent = await startAgent(node);
    await isAnswered(life, '200');
  });
  await happens('an upgrade to another port', async () => {
    await agent.stop('SIGTERM');
    agent = await startAgent(node, { port: 3101 });
    await isAnswered(life, '200');
  });
  await rulesGo(life);
  await happens('an agent that hangs', async () => {
    agent.process.kill('SIGSTOP');
    await turns(life.poller, 20);
    for (const name of ['nat', 'filter']) await iptables(life, '-t', name, '-F');
    await turns(life.poller, 20);
    agent.process.kill('SIGCONT');
    await isAnswered(life, '200');
    await rulesAreBack(life);
    await agent.stop('SIGTERM');
  });
}

/** What others do to the rules while the agent runs. */
async function rulesGo(life: Life): Promise<void> {
  const { node } = life;
  const flush =
    (...tables: readonly string[]) =>
    async () => {
      for (const name of tables) await iptables(life, '-t', name, '-F');
      await rulesAreBack(life);
      await isAnswered(life, '200');
    };
  await note(life, 'the redirect is deleted', async () => {
    await iptables(life, '-t', 'nat', '-D', 'PREROUTING', '1');
    await rulesAreBack(life);
  });
  await note(life, 'the guard is deleted', async () => {
    await iptables(life, '-D', 'FORWARD', '1');
    await iptables(life, '-D', 'FORWARD', '1');
    await rulesAreBack(life);
  });
  await note(life, 'nat is flushed', flush('nat'));
  await note(life, 'filter is flushed', flush('filter'));
  await note(life, 'nat and filter are flushed together', flush('nat', 'filter'));
  await note(life, 'the redirect is shadowed', async () => {
    await iptables(life, '-t', 'nat', '-I', 'PREROUTING', '-d', V4, '-j', 'ACCEPT');
    await rulesAreBack(life);
  });
  await note(life, 'redirect and guard are shadowed together', async () => {
    await iptables(life, '-t', 'nat', '-I', 'PREROUTING', '-d', V4, '-p', 'tcp', '-j', 'ACCEPT');
    await iptables(life, '-I', 'FORWARD', '-j', 'ACCEPT');
    await rulesAreBack(life);
  });
  await note(life, 'the lock is held, and nat and filter are flushed', async () => {
    await whileLocked(node.lockFile, async () => {
      for (const name of ['nat', 'filter']) {
        const elsewhere = `XTABLES_LOCKFILE=${node.lockFile}.other`;
        await node.onNode('env', elsewhere, `iptables-${life.backend}`, '-t', name, '-F');
      }
      await turns(life.poller, 20);
    });
    await rulesAreBack(life);
    await isAnswered(life, '200');
  });
}

/** `--iptables-remove` opens nothing, `--iptables-remove-guard` everything; which also shows that the pod would have seen it. */
async function endsAsTold(life: Life): Promise<void> {
  const { node, poller } = life;
  const redirected = await startAgent(node, { port: 3101, flags: ['--iptables-remove'] });
  await isAnswered(life, '200');
  // What it has not found yet it cannot remove.
  await redirected.line(/"msg":"iptables was found"/);
  await redirected.stop('SIGTERM');
  for (const command of [`iptables-${life.backend}`, `ip6tables-${life.backend}`]) {
    assert.doesNotMatch(await node.onNode(command, '-t', 'nat', '-S'), /DNAT/);
    assert.match(await node.onNode(command, '-S', 'FORWARD'), /kiam-guard/);
  }
  assert.equal(await poller.try(V4, 80), 'ECONNREFUSED');
  assert.deepEqual(node.strangers(), []);
  const open = await startAgent(node, { port: 3101, flags: ['--iptables-remove', '--iptables-remove-guard'] });
  await isAnswered(life, '200');
  await eventually('IPv6 is redirected', 10_000, async () => (await poller.try(V6, 80)) === '503');
  await open.stop('SIGTERM');
  assert.equal(await poller.try(V4, 80), 'reached');
  assert.equal(await poller.try(V6, 80), 'reached');
}

/** Does something, lets the pod try for a while longer and in other ways, and notes what it met. */
async function note({ poller, rows }: Life, name: string, what: () => Promise<unknown>): Promise<void> {
  const before = await poller.tallies();
  try {
    await what();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  await turns(poller, 20);
  const others = await tryOtherPort(poller);
  const now = await poller.tallies();
  const outcomes: Record<string, number> = {};
  let attempts = others.length;
  let reached = others.filter((outcome) => outcome === 'reached').length;
  for (const lane of LANES) {
    attempts += now[lane].attempts - before[lane].attempts;
    reached += now[lane].reached - before[lane].reached;
    for (const [outcome, count] of Object.entries(now[lane].outcomes)) {
      const more = count - (before[lane].outcomes[outcome] ?? 0);
      if (more > 0) outcomes[outcome] = (outcomes[outcome] ?? 0) + more;
    }
  }
  rows.push({ name, attempts, reached, outcomes });
}

async function startAgent(node: KernelNode, options: Parameters<KernelNode['startAgent']>[0] = {}): Promise<Child> {
  const agent = node.startAgent({ ...options, flags: [...FLAGS, ...(options.flags ?? [])] });
  await agent.line(AGENT_SERVES);
  return agent;
}

/** Waits until a request of the pod is answered with a status. */
async function isAnswered({ poller }: Life, status: string): Promise<void> {
  await eventually(`the pod is answered ${status}`, 10_000, async () => (await poller.try(V4, 80)) === status);
}

function iptables({ node, backend }: Life, ...args: readonly string[]): Promise<string> {
  return node.onNode(`iptables-${backend}`, ...args);
}

/** Waits until redirect and guard are there, and first. */
async function rulesAreBack(life: Life): Promise<void> {
  await eventually('redirect and guard are first', 10_000, async () => {
    const nat = await iptables(life, '-t', 'nat', '-S', 'PREROUTING');
    const filter = await iptables(life, '-S', 'FORWARD');
    return /-P PREROUTING ACCEPT\n-A .*DNAT/.test(nat) && /-P FORWARD ACCEPT\n(-A .*kiam-guard.*\n){2}/.test(filter);
  });
}

/** Lets the pod make so many further attempts, by IPv4 and by IPv6. */
async function turns(poller: PodPoller, count: number): Promise<void> {
  const attempts = ({ 'new 4': four, 'new 6': six }: Tallies): number => Math.min(four.attempts, six.attempts);
  const wanted = attempts(await poller.tallies()) + count;
  await eventually('the pod asks', 10_000, async () => attempts(await poller.tallies()) >= wanted);
}

function tryOtherPort(poller: PodPoller): Promise<string[]> {
  return Promise.all([poller.try(V4, OTHER_PORT), poller.try(V6, OTHER_PORT)]);
}

function table(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map((row) => row.name.length));
  return rows.map(({ name, attempts, reached, outcomes }) => {
    const listed = Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`);
    return `${name.padEnd(width)}  ${String(attempts).padStart(5)} attempts, ${reached} reached it; ${listed.sort().join(', ')}`;
  });
}
