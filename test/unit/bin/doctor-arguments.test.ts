import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withDaemonArguments } from '#bin/daemon-arguments.ts';
import { parseCommandLine } from '#bin/flags/command-line.ts';

const AGENT = [
  'node',
  '--use-system-ca',
  '--disable-sigusr1',
  '/kiam',
  'agent',
  '--iptables',
  '--host-interface=cali+',
];

const CASES: readonly [name: string, argv: readonly string[], first: readonly string[], expected: readonly string[]][] =
  [
    ['alone it takes the flags of the daemon', ['doctor'], AGENT, ['doctor', ...AGENT.slice(4)]],
    ['its own flags come last', ['doctor', '--json'], AGENT, ['doctor', ...AGENT.slice(4), '--json']],
    [
      'a server is one as well',
      ['doctor'],
      ['node', '/kiam', 'server', '--sync=1m'],
      ['doctor', 'server', '--sync=1m'],
    ],
    ['a target means something else', ['doctor', 'pod'], AGENT, ['doctor', 'pod']],
    ['a kubeconfig means the cluster', ['doctor', '--kubeconfig=x'], AGENT, ['doctor', '--kubeconfig=x']],
    ['a comparison means the cluster', ['doctor', '--compare-kiam'], AGENT, ['doctor', '--compare-kiam']],
    ['other commands are left alone', ['agent'], AGENT, ['agent']],
    ['other first processes are none of ours', ['doctor'], ['/sbin/init', 'splash'], ['doctor']],
    ['a doctor that is the first process has no daemon', ['doctor'], ['node', '/kiam', 'doctor'], ['doctor']],
    ['a process that hides its arguments has none', ['doctor'], [], ['doctor']],
  ];

for (const [name, argv, first, expected] of CASES) {
  test(`doctor: ${name}`, () =>
    assert.deepEqual(
      withDaemonArguments(argv, () => first),
      expected,
    ));
}

test('mistakes in the flags of a daemon are findings, mistakes in its own flags are refused', async () => {
  const agent = await parseCommandLine(['doctor', 'agent', '--iptable', '--cert=/nowhere'], {}, { version: '1' });
  assert.ok(agent.kind === 'doctor' && agent.doctor.kind === 'agent');
  assert.deepEqual(agent.doctor.problems, [
    'unknown flag --iptable',
    '--host must be given',
    '--key must be given',
    '--ca must be given',
  ]);
  const cluster = await parseCommandLine(['doctor', '--port=1', '--role-base-arn=x'], {}, { version: '1' });
  assert.deepEqual(cluster, {
    kind: 'problems',
    problems: [
      'unknown flag --port (it belongs to agent)',
      '--role-base-arn=x is not of the form arn:aws:iam::123456789012:role/',
    ],
  });
});

test('an init container with the guard alone needs no more flags than the guard', async () => {
  const line = await parseCommandLine(
    ['doctor', 'agent', '--guard-only', '--host-interface=cali+'],
    {},
    { version: '1' },
  );
  assert.ok(line.kind === 'doctor' && line.doctor.kind === 'agent');
  assert.deepEqual(line.doctor.problems, []);
});

test('a program says from where its doctor looks', async () => {
  const options = { version: '1', doctorTargets: ['agent', 'pod'] } as const;
  assert.deepEqual(await parseCommandLine(['doctor'], {}, options), {
    kind: 'problems',
    problems: ['doctor cluster is not in this program: it looks from agent, pod'],
  });
  const help = await parseCommandLine(['doctor', '--help'], {}, options);
  assert.ok(help.kind === 'help');
  assert.match(help.text, /kiam doctor pod/);
  assert.doesNotMatch(help.text, /kiam doctor server/);
  for (const line of help.text.split('\n')) assert.match(line, /^[\x20-\x7e]{0,115}$/);
});
