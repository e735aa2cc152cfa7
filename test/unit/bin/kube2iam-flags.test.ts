import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseCommandLine } from '#bin/flags/command-line.ts';

const read = (args: readonly string[]) => parseCommandLine(['kube2iam', ...args], {}, { version: '0.0.0' });

/** The arguments of kube2iam's own manifests, as its kustomization, its example for EKS and its chart have them. */
const MANIFESTS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ['kustomize', ['--host-ip=192.0.2.1', '--iptables=true', '--node=node-1']],
  [
    'the example for EKS',
    [
      '--auto-discover-base-arn',
      '--auto-discover-default-role=true',
      '--iptables=true',
      '--host-ip=192.0.2.1',
      '--node=node-1',
      '--host-interface=eni+',
    ],
  ],
  [
    'the chart',
    [
      '--host-interface=docker0',
      '--node=node-1',
      '--host-ip=192.0.2.1',
      '--base-role-arn=arn:aws:iam::0123456789:role/',
      '--verbose',
      '--app-port=8181',
      '--metrics-port=8181',
    ],
  ],
  [
    'the first manifest',
    [
      '--app-port=8181',
      '--base-role-arn=arn:aws:iam::936664463856:role/',
      '--metadata-addr=127.0.0.1:9090',
      '--verbose',
    ],
  ],
];

for (const [name, args] of MANIFESTS) {
  test(`The arguments of kube2iam's own manifests are taken: ${name}`, async () => {
    const command = await read(args);
    assert.equal(command.kind, 'kube2iam', JSON.stringify(command));
    assert.deepEqual('warnings' in command ? command.warnings : [], []);
  });
}

test('A base ARN gets its slash, and the metadata address becomes a URL', async () => {
  const command = await read(['--base-role-arn=arn:aws:iam::123456789012:role', '--metadata-addr', '127.0.0.1:80']);
  assert.ok(command.kind === 'kube2iam');
  assert.equal(command.flags.baseRoleArn, 'arn:aws:iam::123456789012:role/');
  assert.equal(command.flags.metadataAddr, 'http://127.0.0.1');
});

test('Switches and words are read as Go and kube2iam read them', async () => {
  const command = await read([
    '--namespace-restrictions=T',
    '--insecure=0',
    '--namespace-restriction-format=RegExp',
    '--log-level=WARN',
    '--log-format=Json',
  ]);
  assert.ok(command.kind === 'kube2iam', JSON.stringify(command));
  const { namespaceRestrictions, insecure, namespaceRestrictionFormat, logLevel, logFormat } = command.flags;
  assert.deepEqual(
    [namespaceRestrictions, insecure, namespaceRestrictionFormat, logLevel, logFormat],
    [true, false, 'regexp', 'warn', 'json'],
  );
});

const REFUSED: readonly (readonly [args: readonly string[], problem: RegExp])[] = [
  [['--base-role-arn=role/'], /--base-role-arn=role\/ is not of the form/],
  [['--auto-discover-base-arn', '--base-role-arn=arn:aws:iam::1:role/'], /--auto-discover-base-arn cannot be used if/],
  [['--auto-discover-default-role', '--default-role=x'], /cannot be used at the same time/],
  [['--iptables'], /--iptables needs --host-ip/],
  [['--iptables', '--host-ip=127.0.0.1'], /--iptables cannot redirect to this --host-ip/],
  [['--iam-role-session-ttl=5m'], /is less than 7m30s/],
];

for (const [args, problem] of REFUSED) {
  test(`Refused: kiam kube2iam ${args.join(' ')}`, async () => {
    const command = await read(args);
    assert.ok(command.kind === 'problems');
    assert.match(command.problems.join('\n'), problem);
  });
}
