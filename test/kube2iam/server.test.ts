import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';
import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';

import { askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** The annotations of a namespace, and the status that its pod of the role `reader` gets. */
const NAMESPACES: Readonly<Record<string, readonly [annotations: Record<string, string>, status: number]>> = {
  listed: [{ [ALLOWED_ROLES_ANNOTATION]: '["re*"]' }, 200],
  'listed-otherwise': [{ [ALLOWED_ROLES_ANNOTATION]: '["writer"]', [PERMITTED_ANNOTATION]: '.*' }, 403],
  'listed-empty': [{ [ALLOWED_ROLES_ANNOTATION]: '', [PERMITTED_ANNOTATION]: '.*' }, 403],
  unreadable: [{ [ALLOWED_ROLES_ANNOTATION]: 'reader', [PERMITTED_ANNOTATION]: '.*' }, 403],
  permitted: [{ [PERMITTED_ANNOTATION]: '.*' }, 200],
  neither: [{}, 403],
};

describe('kiam server --namespace-policy=kube2iam', () => {
  let cluster: Cluster;
  let agent: Daemon;
  const addresses = new Map<string, string>();
  const statusOf = async (namespace: string): Promise<number> => {
    const from = addresses.get(namespace) ?? '';
    return (await askHttp({ port: agent.port, from, path: `${LISTING}reader` })).status;
  };

  before(async () => {
    cluster = await startCluster();
    for (const [name, [annotations]] of Object.entries(NAMESPACES)) {
      cluster.world.api.createNamespace({ metadata: { name, annotations } });
      addresses.set(name, (await cluster.world.pod({ namespace: name, name: 'app', role: 'reader' })).address);
    }
    const server = await cluster.startServer({ flags: ['--namespace-policy=kube2iam'] });
    agent = await cluster.startAgent(server.port);
  });

  after(() => cluster.close());

  for (const [name, [, status]] of Object.entries(NAMESPACES)) {
    it(`answers ${status} to a pod of the namespace that is ${name}`, async () => {
      assert.equal(await statusOf(name), status);
    });
  }

  it('answers as doctor --compare-kube2iam says', async () => {
    const { code, lines } = await cluster.run([
      'doctor',
      '--compare-kube2iam',
      '--namespace-restrictions',
      `--kubeconfig=${cluster.world.kubeconfigs.server}`,
      `--role-base-arn=${cluster.world.roleBaseArn}`,
    ]);
    const told = lines.filter((line) => line.includes('kube2iam'));
    assert.deepEqual(
      told.map((line) => /\S+\/app: .*/.exec(line)?.[0]),
      ['permitted/app: kube2iam refuses it reader; here it is served'],
    );
    assert.equal(code, 0);
  });

  const ofServers = (): readonly string[] => [
    '--namespace-policy=kube2iam',
    `--kubeconfig=${cluster.world.kubeconfigs.server}`,
    `--role-base-arn=${cluster.world.roleBaseArn}`,
  ];

  for (const from of ['server', 'cluster'] as const) {
    it(`doctor ${from} judges by the lists where the server does`, async () => {
      const ofServer = from === 'server' ? ['--no-assume-roles', ...cluster.tlsFlags('server')] : [];
      const { lines } = await cluster.run(['doctor', from, ...ofServers(), ...ofServer]);
      const told = lines.flatMap(
        (line) => /listed-\w+: .* does not match|[\w-]+(?:: the list| has no annotation)/.exec(line) ?? [],
      );
      assert.deepEqual(told, [
        'listed-empty: the list',
        `listed-otherwise: '["writer"]' does not match`,
        'neither has no annotation',
        'unreadable: the list',
      ]);
    });
  }

  it('explain --kubeconfig judges by the lists as the server does', async () => {
    for (const [name, [, status]] of Object.entries(NAMESPACES)) {
      const { lines } = await cluster.run(['explain', `${name}/app`, '--json', ...ofServers()]);
      const outcome = /"outcome": ?"([^"]+)"/.exec(lines.join('\n'))?.[1];
      assert.equal(outcome, status === 200 ? 'is permitted its role' : 'gets nothing', name);
    }
  });

  it('export moves the pods that the server serves', async () => {
    const to = ['--to=pod-identity', '--cluster-name=production', '--region=eu-west-1', '--json'];
    const { lines } = await cluster.run(['export', ...to, ...ofServers()]);
    const { pods }: { pods: readonly { namespace: string; outcome: string }[] } = JSON.parse(lines.join('\n'));
    const moving = pods.filter(({ outcome }) => outcome === 'moves').map(({ namespace }) => namespace);
    const served = Object.entries(NAMESPACES).filter(([, [, status]]) => status === 200);
    assert.deepEqual(moving.toSorted(), served.map(([name]) => name).toSorted());
  });

  it('takes a role away when the list takes the place of an expression of the same text', async () => {
    const text = 'arn:aws:iam::123456789012:role/reader';
    cluster.world.api.createNamespace({ metadata: { name: 'moving', annotations: { [PERMITTED_ANNOTATION]: text } } });
    addresses.set('moving', (await cluster.world.pod({ namespace: 'moving', name: 'app', role: 'reader' })).address);
    await eventually('credentials', 5000, async () => (await statusOf('moving')) === 200);
    cluster.world.api.patchNamespace('moving', { metadata: { annotations: { [ALLOWED_ROLES_ANNOTATION]: text } } });
    await eventually('a refusal', 5000, async () => (await statusOf('moving')) === 403);
  });
});
