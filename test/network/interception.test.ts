import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';

import { Registry } from 'prom-client';

import { createCommandFollower, createCommandRunner } from '#agent/interception/command.ts';
import { applyGuardOnce } from '#agent/interception/guard-once.ts';
import { ANY_INTERFACE, parseHostInterface } from '#agent/interception/host-interface.ts';
import { Interception } from '#agent/interception/interception.ts';
import { createInterceptionMetrics } from '#agent/interception/metrics.ts';
import { systemClock } from '#runtime/clock.ts';

import { eventually } from '../support/eventually.ts';
import { whileLocked } from '../support/held-lock.ts';
import { createNetworkWorld, networkSkip, type NetworkWorld } from '../support/network-world.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const V4 = '169.254.169.254';
const V6 = 'fd00:ec2::254';
const KEEP = { removeRedirect: false, removeGuard: false };
const skip = await networkSkip();

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

/** A lock of its own, so that nothing else on the machine is held up. */
const directory = await mkdtemp(join(tmpdir(), 'kiam-network-'));
after(() => rm(directory, { recursive: true }));
const lockFile = join(directory, 'xtables.lock');
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', XTABLES_LOCKFILE: lockFile };

for (const backend of ['nft', 'legacy'] as const) {
  describe(`interception by iptables-${backend}`, { skip }, () => {
    const world = lazily(() => createNode('routed', backend));
    after(async () => (await world()).remove());
    const iptables = `iptables-${backend}`;

    test('a pod reaches the agent, and the metadata service by no port and no connection', async (t) => {
      const { pod, onNode } = await world();
      await clear(await world(), backend);
      for (const [address, kept] of [
        [V4, 'kept 4'],
        [V6, 'kept 6'],
      ] as const) {
        assert.match(body(await pod.get(address, 80)), /^metadata for /, 'without an agent the way is open');
        await pod.open(kept, address, 80);
        assert.match(body(await pod.send(kept)), /^metadata/);
      }
      await start(t, await world());
      for (const [address, kept] of [
        [V4, 'kept 4'],
        [V6, 'kept 6'],
      ] as const) {
        assert.match(body(await pod.get(address, 80)), /^agent for .*[:.]2$/);
        assert.deepEqual(await pod.get(address, 8080), { ok: false, error: 'ECONNREFUSED' });
        assert.deepEqual(await pod.send(kept), { ok: false, error: 'ECONNRESET' });
      }
      const rules = await onNode(iptables, '-t', 'nat', '-S', 'PREROUTING');
      assert.match(
        rules,
        /-d 169\.254\.169\.254\/32 -i veth\+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 198\.18\.0\.1:3100/,
      );
    });

    for (const [table, chain] of [
      ['nat', 'PREROUTING'],
      ['filter', 'FORWARD'],
    ] as const) {
      test(`interception by iptables-${backend} with ${table} flushed a pod reaches nothing else, and the rules come back`, async (t) => {
        const { pod, onNode } = await world();
        await clear(await world(), backend);
        const running = await start(t, await world());
        const whole = await onNode(iptables, '-t', table, '-S', chain);
        const answers: string[] = [];
        await onNode(iptables, '-t', table, '-F');
        const tookMs = await eventually('the rules are back', 5000, async () => {
          answers.push(body(await pod.get(V4, 80)), body(await pod.get(V6, 80)));
          return (await onNode(iptables, '-t', table, '-S', chain)) === whole;
        });
        t.diagnostic(`${table} restored after ${tookMs.toFixed(0)} ms, ${answers.length} requests meanwhile`);
        assert.deepEqual(
          answers.filter((answer) => answer.startsWith('metadata')),
          [],
        );
        const rule = table === 'nat' ? 'redirect' : 'guard';
        // The kernel has the rules a moment before the program that put them there counts it.
        const counted = new RegExp(`restored_total{rule="${rule}"} 1\n`);
        await eventually('it is counted', 2000, async () => counted.test(await running.registry.metrics()));
        assert.equal(running.lines.filter((line) => line.message === 'an iptables rule was restored').length, 1);
      });
    }

    test('rules inserted before ours are overtaken, duplicates go', async (t) => {
      const { pod, onNode } = await world();
      await clear(await world(), backend);
      await start(t, await world());
      const [nat, filter] = await Promise.all([
        onNode(iptables, '-t', 'nat', '-S', 'PREROUTING'),
        onNode(iptables, '-S', 'FORWARD'),
      ]);
      const ours = nat.split('\n').find((line) => line.startsWith('-A')) ?? '';
      await onNode(iptables, '-t', 'nat', '-I', 'PREROUTING', '-d', V4, '-j', 'ACCEPT');
      await onNode(iptables, '-t', 'nat', ...ours.split(' '));
      await onNode(iptables, '-I', 'FORWARD', '-j', 'ACCEPT');
      await eventually('ours are first again, once', 5000, async () => {
        const nowNat = await onNode(iptables, '-t', 'nat', '-S', 'PREROUTING');
        const nowFilter = await onNode(iptables, '-S', 'FORWARD');
        return (
          nowNat === `${nat}-A PREROUTING -d ${V4}/32 -j ACCEPT\n` && nowFilter === `${filter}-A FORWARD -j ACCEPT\n`
        );
      });
      assert.match(body(await pod.get(V4, 80)), /^agent/);
      assert.deepEqual(await pod.get(V4, 8080), { ok: false, error: 'ECONNREFUSED' });
    });

    test("Kiam's own rule with another address is replaced, and its connections are cut", async (t) => {
      const { pod, node, network, onNode } = await world();
      await clear(await world(), backend);
      await node.listen('::', 8181, 'older');
      // As Kiam gives it (pkg/iptables/iptables.go): order and form are iptables' own afterwards.
      const kiam = [
        '-p',
        'tcp',
        '-d',
        V4,
        '--dport',
        '80',
        '-j',
        'DNAT',
        '--to-destination',
        `${network.node.address}:8181`,
      ];
      await onNode(iptables, '-t', 'nat', '-A', 'PREROUTING', ...kiam, '-i', 'veth+');
      await pod.open('older', V4, 80);
      assert.match(body(await pod.send('older')), /^older/);
      const { registry } = await start(t, await world());
      const rules = await onNode(iptables, '-t', 'nat', '-S', 'PREROUTING');
      assert.equal(rules.split('\n').filter((line) => line.startsWith('-A')).length, 1);
      assert.match(body(await pod.get(V4, 80)), /^agent/);
      // Connections are forgotten when all rules are in place, and then the rules are told as present.
      await eventually('all rules are in place', 5000, async () =>
        /present\{rule="redirect"\} 1\n/.test(await registry.metrics()),
      );
      await eventually('the old connection is cut', 2000, async () => !(await pod.send('older')).ok);
    });

    test('rules stay when the agent ends, and go when they are told to', async (t) => {
      const { pod, onNode } = await world();
      await clear(await world(), backend);
      const kept = await start(t, await world());
      await kept.interception.close(KEEP);
      assert.match(body(await pod.get(V4, 80)), /^agent/);
      const second = await start(t, await world());
      await second.interception.close({ removeRedirect: true, removeGuard: false });
      assert.deepEqual(await pod.get(V4, 80), { ok: false, error: 'ECONNREFUSED' });
      assert.deepEqual(await pod.get(V6, 80), { ok: false, error: 'ECONNREFUSED' });
      const third = await start(t, await world());
      await third.interception.close({ removeRedirect: true, removeGuard: true });
      for (const table of ['filter', 'security']) {
        assert.equal(await onNode(iptables, '-t', table, '-S', 'FORWARD'), '-P FORWARD ACCEPT\n');
      }
      assert.equal(await onNode(iptables, '-t', 'nat', '-S', 'PREROUTING'), '-P PREROUTING ACCEPT\n');
    });

    test('guard-only leaves a pod nothing to reach', async () => {
      const { pod, onNode, network } = await world();
      await clear(await world(), backend);
      const { logger } = recordingLogger();
      const outcome = await applyGuardOnce({ ...common(network), logger });
      assert.deepEqual(outcome, { ok: true, families: ['ipv4', 'ipv6'] });
      for (const address of [V4, V6]) {
        assert.deepEqual(await pod.get(address, 80), { ok: false, error: 'ECONNREFUSED' });
      }
      assert.equal(await onNode(iptables, '-t', 'nat', '-S', 'PREROUTING'), '-P PREROUTING ACCEPT\n');
      assert.match(body(await (await world()).node.get(V4, 80)), /^metadata/, 'the node itself still reaches it');
    });
  });
}

describe('interception beside others', { skip }, () => {
  test('on a bridge the same rules hold', async (t) => {
    const world = await createNode('bridge', 'nft');
    t.after(() => world.remove());
    await world.pod.open('kept', V4, 80);
    await start(t, world);
    assert.match(body(await world.pod.get(V4, 80)), /^agent/);
    assert.deepEqual(await world.pod.get(V4, 8080), { ok: false, error: 'ECONNREFUSED' });
    assert.deepEqual(await world.pod.send('kept'), { ok: false, error: 'ECONNRESET' });
  });

  test('a lock that is held delays nothing but the rules, and they follow when it is free', async (t) => {
    const world = await createNode('routed', 'legacy');
    t.after(() => world.remove());
    const running = create(world);
    t.after(() => running.interception.close(KEEP));
    await whileLocked(lockFile, async () => {
      running.interception.start();
      assert.match(running.interception.status().reason, /has not been looked at yet/, 'start does not wait');
      await eventually('the status says why', 4000, () =>
        running.interception.status().reason.includes('xtables lock'),
      );
      assert.equal(running.interception.status().guard, 'unknown');
    });
    await eventually('the rules are there', 5000, () => running.interception.status().redirect === 'present');
    assert.match(body(await world.pod.get(V4, 80)), /^agent/);
  });
});

describe('interception with tools missing', { skip }, () => {
  test('interception with tools missing: without conntrack and ip6tables the guard alone cuts connections from before', async (t) => {
    const world = await createNode('routed', 'nft');
    t.after(() => world.remove());
    const tools = join(directory, 'bin');
    await mkdir(tools);
    for (const name of ['ip', 'iptables-nft', 'iptables-nft-restore', 'iptables-nft-save']) {
      await symlink(join('/usr/sbin', name), join(tools, name));
    }
    await world.pod.open('kept', V4, 80);
    assert.match(body(await world.pod.send('kept')), /^metadata/);
    const { interception } = await start(t, world, { PATH: tools });
    assert.deepEqual(interception.status(), { redirect: 'present', guard: 'present', reason: '' });
    assert.deepEqual(await world.pod.send('kept'), { ok: false, error: 'ECONNRESET' });
    assert.match(body(await world.pod.get(V4, 80)), /^agent/);
  });

  test('interception with tools missing: without any iptables the status says what is missing', async (t) => {
    const world = await createNode('routed', 'nft');
    t.after(() => world.remove());
    const running = create(world, { PATH: directory });
    t.after(() => running.interception.close(KEEP));
    running.interception.start();
    await eventually('the status is told', 2000, () => running.lines.some((line) => line.level === 'error'));
    assert.deepEqual(running.interception.status(), {
      redirect: 'unknown',
      guard: 'unknown',
      reason: 'iptables: iptables is not installed',
    });
  });
});

/** A node where the kubelet uses a backend, and where something listens in the agent's place. */
async function createNode(topology: 'routed' | 'bridge', backend: 'nft' | 'legacy'): Promise<NetworkWorld> {
  const world = await createNetworkWorld(topology);
  await world.node.listen('::', 3100, 'agent');
  await world.onNode(`iptables-${backend}`, '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
  return world;
}

async function clear({ onNode }: NetworkWorld, backend: string): Promise<void> {
  for (const command of [`iptables-${backend}`, `ip6tables-${backend}`]) {
    for (const table of ['nat', 'filter', 'security']) await onNode(command, '-t', table, '-F');
  }
  // What was refused before must not be remembered by connection tracking either.
  await onNode('sh', '-c', 'conntrack -F 2>/dev/null || true');
}

function common(network: NetworkWorld['network'], variables: Readonly<Record<string, string>> = environment) {
  const parsed = parseHostInterface(network.hostInterface);
  assert.ok(parsed.ok);
  return {
    hostInterface: parsed.hostInterface,
    guardInterface: ANY_INTERFACE,
    clock: systemClock,
    run: createCommandRunner({ clock: systemClock, prefix: network.node.exec, environment: variables }),
    signal: new AbortController().signal,
    lockWaitSeconds: 1,
  };
}

function create({ network }: NetworkWorld, variables: Readonly<Record<string, string>> = environment) {
  const { logger, lines } = recordingLogger();
  const registry = new Registry();
  const interception = new Interception({
    ...common(network, variables),
    hostAddresses: { ipv4: network.node.address, ipv6: variables === environment ? network.node.address6 : undefined },
    port: 3100,
    logger,
    metrics: createInterceptionMetrics(registry),
    follow: createCommandFollower({ prefix: network.node.exec }),
    listInterfaces: () => Promise.resolve([]),
  });
  return { interception, lines, registry };
}

/** Starts the agent's part and waits until all is in place. */
async function start(
  t: TestContext,
  world: NetworkWorld,
  variables: Readonly<Record<string, string>> = environment,
): Promise<ReturnType<typeof create>> {
  const running = create(world, variables);
  t.after(() => running.interception.close(KEEP));
  running.interception.start();
  await eventually('redirect and guard are present', 5000, () => {
    const { redirect, guard } = running.interception.status();
    return redirect === 'present' && guard === 'present';
  });
  return running;
}

function body(answer: { readonly ok: boolean; readonly body?: string; readonly error?: string }): string {
  return answer.body ?? answer.error ?? '';
}

/** Makes a value when it is first asked for. */
function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
