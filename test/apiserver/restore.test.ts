import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';

import { type Cluster, type Daemon, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { runPod } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const LIMIT_MS = 60_000;
const assets = findAssets();

describe('a server whose API server has lost what happened since a backup of etcd', { skip: assets.skip }, () => {
  let plane: ControlPlane;
  let cluster: Cluster;
  let server: Daemon;

  const pod = (name: string, address: string) =>
    runPod(plane.admin, { namespace: 'team', name, address, role: 'reader' });
  const metric = async (name: string, labels: string): Promise<number> => {
    const line = (await server.metrics()).split('\n').find((text) => text.startsWith(`${name}{${labels}} `));
    return Number(line?.split(' ')[1] ?? 0);
  };
  const relists = async (): Promise<number> => {
    const reasons = ['older-read', 'older-list', 'expired'];
    const counts = reasons.map((reason) => metric('kiam_k8s_relists_total', `resource="pods",reason="${reason}"`));
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  };
  const knows = async (count: number): Promise<void> => {
    await eventually(
      `the server knows ${count} pods`,
      LIMIT_MS,
      async () => (await metric('kiam_k8s_objects', 'resource="pods"')) === count,
    );
  };

  before(async () => {
    if (assets.skip !== false) return;
    plane = await startControlPlane(assets.folder);
    cluster = await startCluster();
    await plane.admin.demand('POST', '/api/v1/namespaces', {
      metadata: { name: 'team', annotations: { [PERMITTED_ANNOTATION]: '.*' } },
    });
    await pod('kept', '127.1.0.1');
    await plane.backUp();
    server = await cluster.startServer({
      exactly: [
        'server',
        '--json-log',
        '--bind=127.0.0.1:0',
        '--prometheus-listen-addr=127.0.0.1:0',
        `--kubeconfig=${plane.adminKubeconfig}`,
        `--role-base-arn=${cluster.world.roleBaseArn}`,
        ...cluster.tlsFlags('server'),
      ],
    });
  });
  after(async () => {
    await cluster?.close();
    await plane?.stop();
  });

  it('a server whose API server has lost what happened since a backup of etcd lists again when the store went back, and knows what has happened since', async () => {
    // What comes after the restore must not reach the revision that the server knows.
    for (let count = 0; count < 300; count += 1) {
      await plane.admin.demand('PATCH', '/api/v1/namespaces/team', { metadata: { labels: { at: `${count}` } } });
    }
    for (const lost of [11, 12, 13, 14, 15]) await pod(`lost-${lost}`, `127.1.0.${lost}`);
    await knows(6);
    await eventually('the watch has seen all of it', LIMIT_MS, async () => {
      const ages = await Promise.all(
        ['pods', 'namespaces'].map((one) => metric('kiam_k8s_view_confirmed_age_seconds', `resource="${one}"`)),
      );
      return ages.every((age) => age < 8);
    });
    const before = await relists();
    await plane.restore();
    await pod('new', '127.1.0.3');
    await pod('newer', '127.1.0.4');
    await knows(3);
    assert.ok((await relists()) > before);
    await server.child.line(/returned an older state than before/);
  });
});
