import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { parseCommandLine } from '#bin/flags/command-line.ts';
import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';
import { listField, textField } from '#kubernetes/json-fields.ts';
import { parse, parseAllDocuments, stringify } from 'yaml';

import { type Cluster, startCluster } from '../support/cluster.ts';
import { findHelm } from '../support/helm.ts';

const ALL_FLAGS = [
  '--base-role-arn=arn:aws:iam::123456789012:role/',
  '--default-role=fallback',
  '--namespace-restrictions',
  '--namespace-restriction-format=regexp',
  '--namespace-key=example.com/allowed',
  '--iam-role-key=iam.amazonaws.com/role',
  '--iam-role-session-ttl=20m',
  '--host-interface=cali+',
  '--host-ip=$(HOST_IP)',
  '--node=$(NODE_NAME)',
  '--iptables',
  '--app-port=8282',
  '--metrics-port=9543',
  '--metadata-addr=198.51.100.1:80',
  '--backoff-max-elapsed-time=3s',
  '--log-format=json',
  '--log-level=warning',
  '--debug',
  '--unknown=x',
];

/** A DaemonSet as its users have it, with other objects around it. */
const DAEMON_SET = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'kube2iam', namespace: 'iam' },
  spec: {
    template: {
      metadata: { annotations: { team: 'platform' } },
      spec: {
        serviceAccountName: 'kube2iam',
        hostNetwork: true,
        nodeSelector: { pool: 'apps' },
        tolerations: [{ operator: 'Exists' }],
        containers: [
          { name: 'sidecar', image: 'example.com/sidecar' },
          {
            name: 'kube2iam',
            image: 'jtblin/kube2iam:0.12.0',
            args: ALL_FLAGS,
            env: [
              { name: 'HOST_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
              { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
              { name: 'AWS_REGION', value: 'eu-west-1' },
              { name: 'HTTPS_PROXY', value: 'http://proxy.example:3128' },
            ],
          },
        ],
      },
    },
  },
};

const CHART_VALUES = {
  extraArgs: { 'base-role-arn': 'arn:aws:iam::123456789012:role/', 'namespace-restrictions': null },
  extraEnv: { NO_PROXY: '10.0.0.0/8' },
  host: { iptables: true, interface: 'eni+' },
  aws: { region: 'eu-west-1' },
  existingSecret: 'aws-keys',
  verbose: true,
  tolerations: [],
};

describe('kiam convert kube2iam', () => {
  let folder: string;
  let cluster: Cluster;
  const helm = findHelm();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kiam-convert-'));
    cluster = await startCluster();
  });
  after(async () => {
    await cluster.close();
    await rm(folder, { recursive: true, force: true });
    helm.remove();
  });

  const convert = async (text: string, ...flags: readonly string[]): Promise<readonly string[]> => {
    const file = join(folder, 'given.yaml');
    await writeFile(file, text);
    const { code, lines } = await cluster.run(['convert', 'kube2iam', '-f', file, ...flags]);
    assert.equal(code, 0, lines.join('\n'));
    return lines;
  };
  const told = (lines: readonly string[]): string[] =>
    lines.filter((line) => line.startsWith('# - ')).map((line) => line.slice('# - '.length));

  it('prints values of our chart with the meaning of a DaemonSet, and names line by line what has no counterpart', async () => {
    const lines = await convert(`kind: ServiceAccount\n---\n${stringify(DAEMON_SET)}`);
    const log = { jsonOutput: true, level: 'warn' };
    assert.deepEqual(parse(lines.join('\n')), {
      agent: {
        allowRouteRegexp: '.*',
        log,
        host: { iptables: true, port: 8282, interface: 'cali+' },
        prometheus: { port: 9543 },
        extraArgs: { 'metadata-endpoint': 'http://198.51.100.1', wait: '3000ms' },
        podAnnotations: { team: 'platform' },
        nodeSelector: { pool: 'apps' },
      },
      server: {
        roleBaseArn: 'arn:aws:iam::123456789012:role/',
        region: 'eu-west-1',
        sessionDuration: '2400s',
        log,
        extraArgs: {
          'metadata-endpoint': 'http://198.51.100.1',
          'session-refresh': '1200s',
          'namespace-policy': 'kube2iam',
          'namespace-restriction-format': 'regexp',
        },
        extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy.example:3128' }],
      },
    });
    assert.deepEqual(
      told(lines).map((line) => /^--\w[\w-]*|^[\w*]+/.exec(line)?.[0]),
      [
        '--unknown',
        '--debug',
        '--default-role',
        '--namespace-key',
        'pods',
        'image',
        'tolerations',
        'serviceAccountName',
        'kube2iam_*',
      ],
    );
  });

  it('reads a List as kubectl prints it, and the values of a release of kube2iam', async () => {
    const listed = await convert(stringify({ kind: 'List', items: [DAEMON_SET] }));
    assert.deepEqual(parse(listed.join('\n')), parse((await convert(stringify(DAEMON_SET))).join('\n')));
    const key = (name: string) => ({
      name,
      valueFrom: { secretKeyRef: { name: 'aws-keys', key: name.toLowerCase() } },
    });
    const log = { jsonOutput: false, level: 'debug' };
    assert.deepEqual(parse((await convert(stringify(CHART_VALUES))).join('\n')), {
      agent: { allowRouteRegexp: '.*', log, host: { iptables: true, port: 8181, interface: 'eni+' } },
      server: {
        roleBaseArn: 'arn:aws:iam::123456789012:role/',
        region: 'eu-west-1',
        sessionDuration: '1800s',
        log,
        extraArgs: {
          'session-refresh': '900s',
          'namespace-policy': 'kube2iam',
          'namespace-restriction-format': 'glob',
        },
        extraEnv: [key('AWS_ACCESS_KEY_ID'), key('AWS_SECRET_ACCESS_KEY'), { name: 'NO_PROXY', value: '10.0.0.0/8' }],
      },
    });
  });

  it('tells who has no restrictions and no base ARN what that means to servers', async () => {
    const lines = told(await convert(stringify({ host: {} })));
    assert.ok(
      lines.some((line) => line.includes("kubectl annotate namespaces --all iam.amazonaws.com/permitted='.*'")),
    );
    assert.ok(lines.some((line) => line.startsWith('no --base-role-arn')));
    assert.ok(lines.some((line) => line.startsWith('no AWS_REGION')));
  });

  it('says what is wrong, and exits 1', async () => {
    const file = join(folder, 'wrong.yaml');
    await writeFile(file, 'kind: ConfigMap\n');
    for (const [args, reason] of [
      [['kube2iam', '-f', file], /holds no DaemonSet of kube2iam/],
      [['kube2iam', '-f', join(folder, 'none.yaml')], /-f|--file/],
      [['kube2iam'], /-f must name/],
      [['kube2iam', '--namespaces', '-f', file], /--namespaces needs --role-base-arn/],
      [['kiam', '-f', file], /is none of kube2iam/],
    ] as const) {
      const { code, lines } = await cluster.run(['convert', ...args]);
      assert.equal(code, 1);
      assert.match(lines.join('\n'), reason);
    }
  });

  it('prints values that the chart takes, for daemons that start with them', { skip: helm.skip }, async () => {
    for (const given of [DAEMON_SET, CHART_VALUES]) {
      const values = parse((await convert(stringify(given))).join('\n')) as object;
      const rendered = helm.template({ ...values, generateCertificates: 'never' });
      assert.equal(rendered.status, 0, rendered.stderr);
      const objects = parseAllDocuments(rendered.stdout).map((document): unknown => document.toJS());
      const containers = objects.flatMap((one) => containersOf(one));
      const daemons = containers
        .map((one) => listField(one, 'args').map(String))
        .filter(([name]) => name !== undefined);
      assert.ok(daemons.length >= 2);
      for (const args of daemons) {
        // The files of certificates and the node's address are in the container alone.
        const words = args.filter((word) => !/^--(?:cert|key|ca)=/.test(word));
        const command = await parseCommandLine(words, { HOST_IP: '192.0.2.1' }, { version: '' });
        const problems = command.kind === 'problems' ? command.problems : [];
        assert.deepEqual(
          problems.filter((problem) => !/^--(?:cert|key|ca) must be given$/.test(problem)),
          [],
          words.join(' '),
        );
      }
    }
  });

  const NAMESPACES: Readonly<Record<string, string>> = {
    'team-a': '["reader", "team-a/*"]',
    'team-b': '["*"]',
    'team-c': '[]',
    'team-d': '["it\'s.here"]',
  };
  const COMMANDS = [
    String.raw`kubectl annotate namespace team-a --overwrite 'iam.amazonaws.com/permitted=(?:arn:aws:iam::123456789012:role/reader|arn:aws:iam::123456789012:role/team-a/.*)'`,
    "kubectl annotate namespace team-b --overwrite 'iam.amazonaws.com/permitted=arn:aws:iam::123456789012:role/.*'",
    '# team-c: the list permits nothing, as does no annotation',
    String.raw`kubectl annotate namespace team-d --overwrite 'iam.amazonaws.com/permitted=arn:aws:iam::123456789012:role/it'\''s\.here'`,
  ];
  const BASE = '--role-base-arn=arn:aws:iam::123456789012:role/';

  it('--namespaces prints the commands for the namespaces of a file', async () => {
    const items = Object.entries(NAMESPACES).map(([name, list]) => ({
      kind: 'Namespace',
      metadata: { name, annotations: { 'example.com/allowed': list } },
    }));
    const flags = ['--namespaces', BASE, '--namespace-key=example.com/allowed'];
    assert.deepEqual(await convert(stringify({ kind: 'List', items }), ...flags), COMMANDS);
    assert.deepEqual(await convert(items.map((item) => stringify(item)).join('---\n'), ...flags), COMMANDS);
  });

  it('--namespaces prints the commands for the namespaces of a cluster', async () => {
    for (const [name, list] of Object.entries(NAMESPACES)) {
      cluster.world.api.createNamespace({ metadata: { name, annotations: { [ALLOWED_ROLES_ANNOTATION]: list } } });
    }
    const args = ['--namespaces', `--kubeconfig=${cluster.world.kubeconfigs.server}`, BASE];
    const { code, lines } = await cluster.run(['convert', 'kube2iam', ...args]);
    assert.equal(code, 0, lines.join('\n'));
    assert.deepEqual(lines, COMMANDS);
  });

  it('--namespaces says of a list that is too long for an expression that it is to be kept', async () => {
    const roles = Array.from({ length: 100 }, (_, index) => `a-role-with-a-long-name-${index}`);
    const namespace = {
      kind: 'Namespace',
      metadata: { name: 'long', annotations: { [ALLOWED_ROLES_ANNOTATION]: JSON.stringify(roles) } },
    };
    const [line = ''] = await convert(stringify(namespace), '--namespaces', BASE);
    assert.match(line, /^# long: keep the list, with --namespace-policy=kube2iam: as an expression it is longer than/);
  });
});

function containersOf(object: unknown): readonly unknown[] {
  const kind = textField(object, 'kind');
  if (kind !== 'DaemonSet' && kind !== 'Deployment') return [];
  const { spec } = object as { spec: { template: { spec: Readonly<Record<string, unknown>> } } };
  return listField(spec.template.spec, 'containers');
}
