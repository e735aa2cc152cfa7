import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const LIMIT_MS = 20_000;
const TEAM = 'iam.amazonaws.com/session-tag.team';
const FLAGS = [
  '--session-tags=pod',
  '--cluster-name=prod',
  '--cluster-arn=arn:aws:eks:eu-west-1:123456789012:cluster/prod',
  '--allowed-session-tags=team',
  '--session-name={namespace}.{serviceAccount}',
  '--source-identity={namespace}.{pod}',
];

describe('sessions that say whose they are', () => {
  let cluster: Cluster;
  let port: number;
  let socket: string;

  before(async () => {
    cluster = await startCluster();
    const { world } = cluster;
    socket = join(world.folder, 'admin.sock');
    world.namespace('team', '.*');
    world.api.createServiceAccount('team', 'app', { [TEAM]: 'payments' });
    const server = await cluster.startServer({ flags: [...FLAGS, `--admin-socket=${socket}`] });
    port = (await cluster.startAgent(server.port)).port;
  });
  after(() => cluster?.close());

  /** Whose the credentials are that a pod is served at this moment, as STS was told. */
  const sessionOf = async ({ address }: WorldPod) => {
    const { status, body } = await askHttp({ port, from: address, path: `${LISTING}reader` });
    return status === 200 ? cluster.world.sts.identify(String(JSON.parse(body).AccessKeyId)) : undefined;
  };
  const ownTag = async (pod: WorldPod): Promise<string | undefined> =>
    (await sessionOf(pod))?.tags.find(([key]) => key === 'team')?.[1];

  it('have the tags of EKS Pod Identity, each those of the pod that is served, and the names of the templates', async () => {
    const { world } = cluster;
    const pods = [
      await world.pod({ namespace: 'team', name: 'one', role: 'reader', serviceAccount: 'app' }),
      await world.pod({ namespace: 'team', name: 'two', role: 'reader', serviceAccount: 'app' }),
    ];
    for (const [index, pod] of pods.entries()) {
      const name = index === 0 ? 'one' : 'two';
      await eventually('it is served', LIMIT_MS, async () => (await sessionOf(pod)) !== undefined);
      const session = await sessionOf(pod);
      assert.deepEqual(session?.tags, [
        ['eks-cluster-arn', 'arn:aws:eks:eu-west-1:123456789012:cluster/prod'],
        ['eks-cluster-name', 'prod'],
        ['kubernetes-namespace', 'team'],
        ['kubernetes-service-account', 'app'],
        ['kubernetes-pod-name', name],
        ['kubernetes-pod-uid', pod.uid],
        ['team', 'payments'],
      ]);
      assert.deepEqual([session?.sessionName, session?.sourceIdentity], ['team.app', `team.${name}`]);
      assert.deepEqual(session?.transitiveTags, []);
    }
  });

  it('have the tag of the ServiceAccount where the pod says otherwise, and follow each within seconds', async () => {
    const { world } = cluster;
    const pod = await world.pod({
      namespace: 'team',
      name: 'three',
      role: 'reader',
      serviceAccount: 'app',
      annotations: {
        [TEAM]: 'victim',
        'iam.amazonaws.com/session-tag.kubernetes-namespace': 'victim',
        'iam.amazonaws.com/session-tag.other': 'x',
      },
    });
    await eventually('it is served', LIMIT_MS, async () => (await ownTag(pod)) === 'payments');
    const set = (value: string | null): unknown =>
      world.api.patchServiceAccount('team', 'app', { metadata: { annotations: { [TEAM]: value } } });
    set('billing');
    await eventually('the change is served', LIMIT_MS, async () => (await ownTag(pod)) === 'billing');
    set(null);
    await eventually('its own counts', LIMIT_MS, async () => (await ownTag(pod)) === 'victim');
    const told = await cluster.run(['explain', 'team/three', `--admin-socket=${socket}`]);
    const session = told.lines.find((line) => /^ +-- +session /.test(line)) ?? told.lines.join('\n');
    assert.match(
      session,
      /session +team\.app, without an external id, with the source identity team\.three, with the tags eks-cluster-arn=\S+ eks-cluster-name=prod, kubernetes-namespace=team, .*team=victim, without iam\.amazonaws\.com\/session-tag\.kubernetes-namespace, which/,
    );
    set('payments');
    await eventually('the ServiceAccount counts again', LIMIT_MS, async () => (await ownTag(pod)) === 'payments');
  });

  it('are not made for a pod whose own tag AWS would not take, which explain names', async () => {
    const { world } = cluster;
    world.api.createServiceAccount('team', 'plain', {});
    const annotations = { [TEAM]: 'a;b' };
    const four = { namespace: 'team', name: 'four', role: 'reader', serviceAccount: 'plain', annotations };
    const pod = await world.pod(four);
    await eventually('it is refused', LIMIT_MS, async () => {
      const { status } = await askHttp({ port, from: pod.address, path: `${LISTING}reader` });
      return status === 403;
    });
    const told = await cluster.run(['explain', 'team/four', `--admin-socket=${socket}`]);
    assert.match(told.lines[0] ?? '', /^team\/four gets nothing: the session tag 'team' is not valid/);
  });
});
