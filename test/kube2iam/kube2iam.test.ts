import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { askHttp, LISTING } from '../support/cluster.ts';
import { type Kube2iamDaemon, type Kube2iamNode, startKube2iamNode } from './node.ts';

/** The rows of docs/metrics.md: name and type. */
async function documentedMetrics(): Promise<string[]> {
  const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  return Array.from(
    page.matchAll(/^\| `(kube2iam_\w+)` \| (\w+) \| kube2iam \|/gm),
    ([, name, type]) => `${name} ${type}`,
  );
}

describe('kiam kube2iam', () => {
  let node: Kube2iamNode;
  let daemon: Kube2iamDaemon;
  const BASE = '--base-role-arn=arn:aws:iam::123456789012:role/';

  before(async () => {
    const nodes = ['node-1', 'node-2'].map((name, index) => ({ name, address: `127.0.0.${index + 1}` }));
    node = await startKube2iamNode({ nodes, instance: { userData: 'secret' } });
    node.world.namespace('team');
    daemon = await node.start([BASE, '--log-level=debug']);
  });

  after(() => node.close());

  const ask = (path: string, from: string, options = {}) => askHttp({ port: daemon.port, path, from, ...options });

  it('assumes a role once, before its pods ask, and counts and logs their requests in the terms of kube2iam', async () => {
    const pods = await Promise.all(
      ['a', 'b', 'c'].map((name) => node.world.pod({ namespace: 'team', name, role: 'reader', nodeName: 'node-1' })),
    );
    for (const { address } of pods) {
      assert.equal((await ask(LISTING, address)).body, 'reader');
      assert.equal((await ask(`${LISTING}reader`, address)).status, 200);
    }
    assert.equal(node.world.sts.calls.list('arn:aws:iam::123456789012:role/reader').length, 1);
    const line = daemon.child.lines.find((text) =>
      text.includes('"req.path":"/latest/meta-data/iam/security-credentials/reader"'),
    );
    assert.match(line ?? '', /"req\.method":"GET".*"req\.remote":"127\.1\..*"res\.status":200/);
    const { body } = await askHttp({ port: daemon.metricsPort, path: '/metrics' });
    const types = [...body.matchAll(/^# TYPE (kube2iam_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    assert.deepEqual(types.toSorted(), await documentedMetrics());
    assert.match(
      body,
      /^kube2iam_http_request_duration_seconds_count\{code="200",method="GET",handler="roleHandler"\} 3$/m,
    );
    assert.match(
      body,
      /^kube2iam_iam_request_duration_seconds_count\{code="Success",role_arn="arn:aws:iam::123456789012:role\/reader"\} 1$/m,
    );
    assert.match(body, /^kube2iam_healthcheck_status 1$/m);
    for (const bound of ['0.001', '0.064', '8.192']) assert.ok(body.includes(`le="${bound}"`), bound);
  });

  it('gives the next pod of an address its own role at once, and the one before nothing', async () => {
    const before_ = await node.world.pod({ namespace: 'team', name: 'before', role: 'before', nodeName: 'node-1' });
    assert.equal((await ask(`${LISTING}before`, before_.address)).status, 200);
    node.world.api.deletePod('team', 'before');
    node.world.api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'team', name: 'after', annotations: { 'iam.amazonaws.com/role': 'after' } },
      spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'app' }] },
      status: { phase: 'Running', hostIP: '127.0.0.1', podIP: before_.address, podIPs: [{ ip: before_.address }] },
    });
    assert.notEqual((await ask(`${LISTING}before`, before_.address)).status, 200);
    assert.equal((await ask(`${LISTING}after`, before_.address)).status, 200);
  });

  it('assumes a role once for 500 requests at once from pods that nobody knows yet', async () => {
    const { world } = node;
    world.sts.everywhere({ delayMs: 200 });
    world.api.controls.holdDelivery('pods');
    const names = Array.from({ length: 50 }, (_, index) => `cold-${index}`);
    const pods = await Promise.all(
      names.map((name) => world.pod({ namespace: 'team', name, role: 'cold', nodeName: 'node-1' })),
    );
    const asked = pods.flatMap(({ address }) => Array.from({ length: 10 }, () => ask(`${LISTING}cold`, address)));
    world.api.controls.releaseDelivery('pods');
    const statuses = new Set((await Promise.all(asked)).map(({ status }) => status));
    world.sts.everywhere({});
    assert.deepEqual([...statuses], [200]);
    assert.equal(world.sts.calls.list('arn:aws:iam::123456789012:role/cold').length, 1);
  });

  it('keeps the credentials of an external id apart from those without one', async () => {
    const given = await node.world.pod({
      namespace: 'team',
      name: 'x',
      role: 'shared',
      externalId: 'ext-1',
      nodeName: 'node-1',
    });
    const none = await node.world.pod({ namespace: 'team', name: 'y', role: 'shared', nodeName: 'node-1' });
    const keys = await Promise.all(
      [given, none].map(async ({ address }) => (await ask(`${LISTING}shared`, address)).body),
    );
    assert.notEqual(keys[0], keys[1]);
  });

  it('puts the base ARN before no ARN, whatever its letters', async () => {
    const role = 'ARN:aws:iam::123456789012:role/reader';
    const pod = await node.world.pod({ namespace: 'team', name: 'capitals', role, nodeName: 'node-1' });
    assert.equal((await ask(LISTING, pod.address)).body, role);
    const { status, body } = await ask(`${LISTING}${role}`, pod.address);
    assert.deepEqual([status, body], [403, `Invalid role ${role}\n`]);
    assert.deepEqual(node.world.sts.calls.list(`arn:aws:iam::123456789012:role/${role}`), []);
  });

  it('warns that pods can read the user data of the node, and proxies nothing below iam/', async () => {
    assert.ok(daemon.child.lines.some((line) => line.includes('lets pods read the user data of the node')));
    for (const path of ['/latest/meta-data/identity-credentials/ec2/info', '/latest/meta-data/iam/', '/x/iam/y']) {
      assert.equal((await ask(path, '127.1.9.9')).status, 404, path);
    }
    assert.deepEqual(
      node.world.metadata.requests().filter(({ url }) => /iam\/(?!security-credentials)|identity-cred/.test(url)),
      [],
    );
  });

  it('limits how often a pod asks by --pod-rate, where 0 is no limit', async () => {
    for (const rate of [1, 0]) {
      const { port, child } = await node.start([BASE, `--pod-rate=${rate}`]);
      let served = 0;
      for (let asked = 0; asked < 10; asked += 1) {
        // Beyond the rate it is 429, or the connection is closed.
        const answer = await askHttp({ port, path: '/healthz' }).catch(() => undefined);
        if (answer?.status === 200) served += 1;
      }
      assert.equal(served === 10, rate === 0, `${served} of 10 with --pod-rate=${rate}`);
      await child.stop('SIGKILL');
    }
  });

  it('narrows what it proxies with --allow-route-regexp, and stops within its time', async () => {
    const narrow = await node.start([BASE, '--allow-route-regexp=instance-id$', '--metrics-port=0']);
    assert.equal((await askHttp({ port: narrow.port, path: '/latest/user-data' })).status, 404);
    assert.equal((await askHttp({ port: narrow.port, path: '/latest/meta-data/instance-id' })).status, 200);
    const { code } = await narrow.child.stop('SIGTERM');
    assert.equal(code, 0);
  });
});
