import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { FollowCommand } from '#agent/interception/command.ts';
import { applyGuardOnce } from '#agent/interception/guard-once.ts';
import type { HostAddresses } from '#agent/interception/host-addresses.ts';
import { ANY_INTERFACE } from '#agent/interception/host-interface.ts';
import { Interception } from '#agent/interception/interception.ts';
import type { InterceptionMetrics } from '#agent/interception/metrics.ts';

import { ManualClock, settle } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { createFakeIptables, type FakeIptables, LOCKED } from './fake-iptables.ts';

const HOST_INTERFACE = { inverted: false, name: 'veth+' };
const REDIRECT =
  '-A PREROUTING -d 169.254.169.254/32 -i veth+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3100';
const OTHER = REDIRECT.replace('192.0.2.1:3100', '192.0.2.1:8181');

interface World {
  readonly interception: Interception;
  readonly clock: ManualClock;
  readonly lines: ReturnType<typeof recordingLogger>['lines'];
  readonly counts: { restored: string[]; failed: string[]; present: Map<string, boolean> };
}

function createWorld(
  iptables: FakeIptables,
  hostAddresses: HostAddresses = { ipv4: '192.0.2.1', ipv6: undefined },
  follow: FollowCommand = () => Promise.resolve(false),
): World {
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  const counts: World['counts'] = { restored: [], failed: [], present: new Map() };
  const metrics: InterceptionMetrics = {
    restored: (rule) => counts.restored.push(rule),
    failed: (rule) => counts.failed.push(rule),
    present: (rule, present) => counts.present.set(rule, present),
  };
  const interception = new Interception({
    hostAddresses,
    port: 3100,
    hostInterface: HOST_INTERFACE,
    guardInterface: ANY_INTERFACE,
    clock,
    logger,
    metrics,
    run: iptables.run,
    follow,
    signal: new AbortController().signal,
    listInterfaces: () => Promise.resolve(['eth0', 'veth1']),
  });
  return { interception, clock, lines, counts };
}

/** Starts, and lets the first checks come to an end. */
async function started(world: World): Promise<World> {
  world.interception.start();
  await run();
  return world;
}

async function run(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await settle();
}

async function nextCheck(world: World): Promise<void> {
  await world.clock.advance(100);
  await world.clock.advance(1900);
  await run();
}

test('start puts in the guard first, then the redirect, and says so once', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  assert.deepEqual(world.interception.status(), { redirect: 'present', guard: 'present', reason: '' });
  assert.deepEqual(iptables.chain('nat', 'PREROUTING'), [REDIRECT]);
  assert.equal(iptables.chain('filter', 'FORWARD').length, 2);
  const restores = iptables.commands.filter((line) => line.includes('-restore'));
  assert.equal(restores.length, 5, 'one for each rule, and one each for the guard and the backstop of IPv6');
  assert.deepEqual(iptables.chain('security', 'FORWARD'), [
    '-A FORWARD -d 169.254.169.254/32 -m comment --comment kiam-guard -j DROP',
  ]);
  const placed = world.lines.filter((line) => line.message === 'an iptables rule was put in place');
  assert.deepEqual(
    placed.map((line) => [line.fields['rule'], line.fields['family']]),
    [
      ['guard', 'ipv4'],
      ['redirect', 'ipv4'],
      ['guard', 'ipv6'],
      ['backstop', 'ipv4'],
      ['backstop', 'ipv6'],
    ],
  );
  assert.deepEqual(world.counts.restored, []);
  await nextCheck(world);
  assert.equal(iptables.commands.filter((line) => line.includes('-restore')).length, 5, 'nothing is done twice');
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('a rule that goes is restored at the next check, counted and logged once', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  iptables.chain('filter', 'FORWARD').splice(0);
  await nextCheck(world);
  assert.equal(iptables.chain('filter', 'FORWARD').length, 2);
  assert.deepEqual(world.counts.restored, ['guard']);
  const restored = world.lines.filter((line) => line.level === 'warn');
  assert.deepEqual(
    restored.map((line) => [line.message, line.fields]),
    [['an iptables rule was restored', { rule: 'guard', family: 'ipv4', found: 'missing', culprit: undefined }]],
  );
  const forgotten = iptables.commands.filter((line) => line.startsWith('conntrack'));
  assert.equal(forgotten.length, 3, 'connections are forgotten whenever something was put in place');
  assert.match(forgotten.join('\n'), /^conntrack -D -f ipv4 -d 169\.254\.169\.254 -r 169\.254\.169\.254$/m);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('connections to an agent that is replaced are forgotten, those to this one are kept', async () => {
  const iptables = createFakeIptables();
  const direct = 'conntrack -D -f ipv4 -d 169.254.169.254 -r 169.254.169.254';
  const forgotten = (): readonly string[] =>
    iptables.commands.filter((line) => line.startsWith('conntrack -D -f ipv4'));
  iptables.chain('nat', 'PREROUTING').push(OTHER);
  const world = await started(createWorld(iptables));
  assert.deepEqual(forgotten(), ['conntrack -D -f ipv4 -d 169.254.169.254']);
  iptables.chain('nat', 'PREROUTING').splice(0);
  await nextCheck(world);
  iptables.chain('filter', 'FORWARD').splice(0);
  await nextCheck(world);
  assert.deepEqual(forgotten().slice(1), [direct, direct]);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('what an agent has not yet looked at is removed all the same', async () => {
  const iptables = createFakeIptables();
  await (await started(createWorld(iptables))).interception.close({ removeRedirect: false, removeGuard: false });
  iptables.answers.set('iptables-nft -w 5 -t nat', LOCKED);
  const world = await started(createWorld(iptables));
  iptables.answers.clear();
  await world.interception.close({ removeRedirect: true, removeGuard: true });
  for (const [table, chain] of [
    ['nat', 'PREROUTING'],
    ['filter', 'FORWARD'],
    ['security', 'FORWARD'],
  ] as const) {
    assert.deepEqual(iptables.chain(table, chain), [], table);
  }
});

test('what is not in place is told: the lock is held', async () => {
  const iptables = createFakeIptables();
  iptables.answers.set('iptables-nft -w', LOCKED);
  const world = await started(createWorld(iptables));
  const status = world.interception.status();
  assert.deepEqual([status.redirect, status.guard], ['unknown', 'unknown']);
  assert.match(status.reason, /xtables lock/);
  await nextCheck(world);
  await nextCheck(world);
  const told = world.lines.filter((line) => line.level === 'warn');
  assert.deepEqual(
    told.map((line) => line.fields['rule']),
    ['guard', 'redirect', 'backstop'],
    'once each, however long it lasts',
  );
  assert.ok(world.counts.failed.length >= 4);
  iptables.answers.clear();
  await nextCheck(world);
  assert.deepEqual(world.interception.status(), { redirect: 'present', guard: 'present', reason: '' });
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('a change that cannot be made leaves the state missing, with the reason', async () => {
  const iptables = createFakeIptables();
  const refusal = { kind: 'exited', exitCode: 2, stdout: '', stderr: 'no REJECT here\n', truncated: false } as const;
  iptables.answers.set('iptables-nft-restore', refusal);
  const world = await started(createWorld(iptables));
  assert.deepEqual(world.interception.status().guard, 'missing');
  assert.match(world.interception.status().reason, /no REJECT here/);
  assert.equal(world.counts.present.get('guard'), false);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('without any iptables the status says so, and it is used once it is there', async () => {
  const iptables = createFakeIptables();
  for (const start of ['iptables', 'ip6tables']) iptables.answers.set(start, { kind: 'not found' });
  const world = await started(createWorld(iptables));
  assert.equal(world.interception.status().guard, 'unknown');
  assert.match(world.interception.status().reason, /iptables is not installed/);
  await nextCheck(world);
  assert.equal(world.lines.filter((line) => line.level === 'error').length, 1);
  iptables.answers.clear();
  await nextCheck(world);
  assert.equal(world.interception.status().guard, 'present');
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('IPv6 that does not work is no fault where the node has no IPv6 address, and one where it has', async () => {
  for (const [ipv6, expected] of [
    [undefined, 'present'],
    ['2001:db8::1', 'unknown'],
  ] as const) {
    const iptables = createFakeIptables();
    iptables.answers.set('ip6tables', { kind: 'not found' });
    const world = await started(createWorld(iptables, { ipv4: '192.0.2.1', ipv6 }));
    assert.equal(world.interception.status().guard, expected);
    assert.equal(world.counts.failed.length > 0, ipv6 !== undefined);
    await world.interception.close({ removeRedirect: false, removeGuard: false });
  }
});

test('IPv6 that does not work is tried again once a minute, and kept from then on', async () => {
  const iptables = createFakeIptables();
  iptables.answers.set('ip6tables', { kind: 'not found' });
  const world = await started(createWorld(iptables));
  const attempts = (): number => iptables.commands.filter((line) => /^ip6tables-nft -w .*-t filter/.test(line)).length;
  for (let second = 0; second < 30; second += 2) await nextCheck(world);
  assert.equal(attempts(), 1);
  iptables.answers.clear();
  for (let second = 0; second < 32; second += 2) await nextCheck(world);
  assert.equal(iptables.chain('filter', 'FORWARD', 'ip6tables-nft').length, 2);
  iptables.answers.set('ip6tables', { kind: 'not found' });
  await nextCheck(world);
  assert.equal(world.interception.status().guard, 'unknown', 'what has worked is missed');
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('a kernel without the table of the backstop is told of once, and is no fault', async () => {
  const iptables = createFakeIptables();
  const refusal = {
    kind: 'exited',
    exitCode: 3,
    stdout: '',
    stderr: "can't initialize it\n",
    truncated: false,
  } as const;
  for (const command of ['iptables-nft', 'ip6tables-nft']) iptables.answers.set(`${command} -w 5 -t security`, refusal);
  const world = await started(createWorld(iptables, { ipv4: '192.0.2.1', ipv6: '2001:db8::1' }));
  for (let second = 0; second < 10; second += 2) await nextCheck(world);
  assert.deepEqual(world.interception.status(), { redirect: 'present', guard: 'present', reason: '' });
  assert.equal(world.counts.present.get('backstop'), false);
  assert.deepEqual(world.counts.failed, []);
  const told = world.lines.filter((line) => line.level === 'warn').map((line) => line.fields['rule']);
  assert.deepEqual(told, ['backstop', 'backstop'], 'once for each family');
  const outcome = await applyGuardOnce({
    guardInterface: ANY_INTERFACE,
    clock: world.clock,
    logger: recordingLogger().logger,
    run: iptables.run,
    signal: new AbortController().signal,
  });
  assert.deepEqual(outcome, { ok: true, families: ['ipv4', 'ipv6'] });
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('a guard for one interface alone is replaced, and where another agent keeps putting it back both stay', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  const ours = [...iptables.chain('filter', 'FORWARD')];
  const theirs = ours.map((rule) => rule.replace('/32', '/32 -i docker0'));
  for (let turn = 0; turn < 6; turn += 1) {
    iptables.chain('filter', 'FORWARD').splice(0, Number.POSITIVE_INFINITY, ...theirs);
    await nextCheck(world);
    assert.equal(world.interception.status().guard, 'present');
  }
  assert.deepEqual(iptables.chain('filter', 'FORWARD'), [...ours, ...theirs]);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('two agents that replace each other come to rest instead of fighting for ever', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  let replacements = 0;
  for (let second = 0; second < 300; second += 2) {
    const chain = iptables.chain('nat', 'PREROUTING');
    if (chain[0] === REDIRECT) {
      replacements += 1;
      chain.splice(0, 1, OTHER);
    }
    await nextCheck(world);
  }
  assert.ok(replacements >= 3 && replacements <= 15, `${replacements} replacements in five minutes`);
  const told = world.lines.filter((line) => line.message.startsWith('another program keeps replacing'));
  assert.ok(told.length >= 1 && told.length <= replacements);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('while another agent has its turn the state is told, and what goes missing is restored', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  for (let turn = 0; turn < 4; turn += 1) {
    iptables.chain('nat', 'PREROUTING').splice(0, Number.POSITIVE_INFINITY, OTHER);
    await nextCheck(world);
  }
  assert.deepEqual(iptables.chain('nat', 'PREROUTING'), [OTHER]);
  assert.equal(world.interception.status().redirect, 'missing');
  assert.match(world.interception.status().reason, /another agent's rule is in force: .*192\.0\.2\.1:8181/);
  iptables.chain('nat', 'PREROUTING').splice(0);
  await nextCheck(world);
  assert.deepEqual(iptables.chain('nat', 'PREROUTING'), [REDIRECT]);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('close keeps both by default, and removes exactly what it is told to', async () => {
  const cases = [
    { removeRedirect: false, removeGuard: false, left: [1, 2] },
    { removeRedirect: true, removeGuard: false, left: [0, 2] },
    { removeRedirect: false, removeGuard: true, left: [1, 0] },
    { removeRedirect: true, removeGuard: true, left: [0, 0] },
  ];
  for (const { left, ...removal } of cases) {
    const iptables = createFakeIptables();
    const world = await started(createWorld(iptables));
    await world.interception.close(removal);
    const count = [iptables.chain('nat', 'PREROUTING').length, iptables.chain('filter', 'FORWARD').length];
    assert.deepEqual(count, left, JSON.stringify(removal));
    assert.equal(iptables.chain('filter', 'FORWARD', 'ip6tables-nft').length, left[1]);
    for (const command of ['iptables-nft', 'ip6tables-nft']) {
      assert.equal(iptables.chain('security', 'FORWARD', command).length, removal.removeGuard ? 0 : 1);
    }
  }
});

test('the backend is the one with the kubelet chains, else the one with more rules, else the default', async () => {
  const cases: [name: string, prepare: (iptables: FakeIptables) => void, backend: string][] = [
    ['nothing', () => {}, 'iptables-nft'],
    [
      'kubelet on legacy',
      (it) => it.extraLines.set('iptables-legacy', [':KUBE-KUBELET-CANARY - [0:0]']),
      'iptables-legacy',
    ],
    [
      'kubelet on legacy, IPv6 only',
      (it) => it.extraLines.set('ip6tables-legacy', [':KUBE-IPTABLES-HINT - [0:0]']),
      'iptables-legacy',
    ],
    [
      'more rules in legacy',
      (it) => it.chain('nat', 'POSTROUTING', 'iptables-legacy').push('-A POSTROUTING -j MASQUERADE'),
      'iptables-legacy',
    ],
    [
      'only our own rules in legacy',
      (it) => it.chain('nat', 'PREROUTING', 'iptables-legacy').push(REDIRECT),
      'iptables-nft',
    ],
    [
      'only plain iptables',
      (it) => {
        it.answers.set('iptables-nft', { kind: 'not found' });
        it.answers.set('iptables-legacy', { kind: 'not found' });
      },
      'iptables',
    ],
  ];
  for (const [name, prepare, backend] of cases) {
    const iptables = createFakeIptables();
    prepare(iptables);
    const world = await started(createWorld(iptables));
    assert.equal(iptables.chain('filter', 'FORWARD', backend).length, 2, name);
    await world.interception.close({ removeRedirect: false, removeGuard: false });
  }
});

test('when the kubelet turns out to use the other backend, the rules move there', async () => {
  const iptables = createFakeIptables();
  const world = await started(createWorld(iptables));
  iptables.extraLines.set('iptables-legacy', [':KUBE-IPTABLES-HINT - [0:0]']);
  await world.clock.advance(120_000);
  await nextCheck(world);
  assert.equal(iptables.chain('filter', 'FORWARD', 'iptables-legacy').length, 2);
  assert.deepEqual(iptables.chain('nat', 'PREROUTING', 'iptables-legacy'), [REDIRECT]);
  assert.deepEqual(iptables.chain('filter', 'FORWARD'), []);
  assert.deepEqual(iptables.chain('nat', 'PREROUTING'), []);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});

test('the guard alone is put in by guard-only, which waits for the lock within its limit', async () => {
  const iptables = createFakeIptables();
  const clock = new ManualClock();
  const { logger } = recordingLogger();
  const options = {
    guardInterface: ANY_INTERFACE,
    clock,
    logger,
    run: iptables.run,
    signal: new AbortController().signal,
  };
  iptables.answers.set('iptables-nft -w', LOCKED);
  const waiting = applyGuardOnce(options);
  await run();
  await clock.advance(5000);
  iptables.answers.clear();
  await clock.advance(1000);
  assert.deepEqual(await waiting, { ok: true, families: ['ipv4', 'ipv6'] });
  assert.equal(iptables.chain('filter', 'FORWARD').length, 2);
  assert.equal(iptables.chain('security', 'FORWARD').length, 1);
  assert.deepEqual(iptables.chain('nat', 'PREROUTING'), []);

  iptables.answers.set('iptables-nft -w', LOCKED);
  const failing = applyGuardOnce({ ...options, limitMs: 10_000 });
  for (let second = 0; second < 12; second += 1) {
    await run();
    await clock.advance(1000);
  }
  const outcome = await failing;
  assert.ok(!outcome.ok);
  assert.match(outcome.reason, /xtables lock/);
});

test('a deletion that the kernel announces is looked at soon, an endless stream of them at bounded cost', async () => {
  const iptables = createFakeIptables();
  let announce: ((line: string) => void) | undefined;
  const world = await started(
    createWorld(iptables, undefined, (command, args, { signal, onLine }) => {
      assert.deepEqual([command, ...args], ['nft', 'monitor', 'destroy']);
      announce = onLine;
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(true));
      });
    }),
  );
  await world.clock.advance(100);
  const reads = (): number => iptables.commands.filter((line) => line.includes('-t filter -S FORWARD')).length;

  const before = reads();
  for (const line of [
    'delete rule ip filter KUBE-X handle 4',
    'delete table inet filter',
    'add rule ip filter FORWARD',
  ]) {
    announce?.(line);
  }
  await world.clock.advance(100);
  assert.equal(reads(), before, 'what concerns others wakes nobody');

  iptables.chain('filter', 'FORWARD').splice(0);
  announce?.('delete rule ip filter FORWARD handle 5');
  await run();
  assert.equal(iptables.chain('filter', 'FORWARD').length, 2);

  const atStart = reads();
  for (let elapsedMs = 0; elapsedMs < 10_000; elapsedMs += 10) {
    announce?.('delete table ip nat');
    await world.clock.advance(10);
  }
  const checks = (reads() - atStart) / 2;
  assert.ok(checks > 40 && checks < 60, `${checks} checks in ten seconds`);
  await world.interception.close({ removeRedirect: false, removeGuard: false });
});
