import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { diagnose } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { startStandInProxy, type StandInProxy } from '../support/stand-in-proxy.ts';

const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

describe('a server that reaches STS and the Kubernetes API through a proxy alone', () => {
  let cluster: Cluster;
  let proxy: StandInProxy;
  let kubeconfig: string;
  let environment: Readonly<Record<string, string>>;
  let api: string;
  let sts: string;

  before(async () => {
    cluster = await startCluster({ stsOverHttps: true });
    const { world } = cluster;
    proxy = await startStandInProxy({ user: 'kiam:secret' });
    const text = await readFile(world.kubeconfigs.server, 'utf8');
    // Nobody but the proxy knows where these names are.
    api = `kubernetes.default.svc:${/127\.0\.0\.1:(\d+)/.exec(text)?.[1]}`;
    sts = `sts.amazonaws.com:${new URL(world.sts.url).port}`;
    kubeconfig = join(world.folder, 'kubeconfig-by-name');
    await writeFile(kubeconfig, text.replace(/127\.0\.0\.1:\d+/, api));
    environment = {
      ...world.environment.server,
      AWS_ENDPOINT_URL_STS: `https://${sts}`,
      https_proxy: `http://kiam:secret@127.0.0.1:${proxy.port}`,
      no_proxy: '10.0.0.0/8,.elsewhere.example',
    };
  });
  after(async () => {
    await cluster?.close();
    proxy?.close();
  });

  const flags = (): readonly string[] => [
    `--kubeconfig=${kubeconfig}`,
    `--role-base-arn=${cluster.world.roleBaseArn}`,
    ...cluster.tlsFlags('server'),
  ];

  it('a server that reaches STS and the Kubernetes API through a proxy alone serves a pod, and makes few tunnels', async () => {
    const { world } = cluster;
    world.namespace('team', '.*');
    const exactly = ['server', '--json-log', '--bind=127.0.0.1:0', '--prometheus-listen-addr=127.0.0.1:0', ...flags()];
    const server = await cluster.startServer({ exactly, environment });
    const agent = await cluster.startAgent(server.port);
    const pod = await world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    await eventually('the pod has its credentials', 20_000, async () => {
      const path = `${LISTING}reader`;
      return (await askHttp({ port: agent.port, from: pod.address, path })).status === 200;
    });
    assert.deepEqual(new Set(proxy.requests), new Set([`CONNECT ${api}`, `CONNECT ${sts}`]));
    assert.ok(proxy.requests.length < 20, `${proxy.requests.length} tunnels`);
  });

  it('a server that reaches STS and the Kubernetes API through a proxy alone is told by doctor through which proxy, without its password', async () => {
    const asked = proxy.requests.length;
    const args = ['server', ...flags(), '--no-assume-roles'];
    const { findings, text } = await diagnose({ program: KIAM, args, environment });
    const says = findings.map((finding) => finding.says);
    assert.ok(
      says.some((line) =>
        line.startsWith(`STS at https://${sts} through the proxy 127.0.0.1:${proxy.port} sees us as`),
      ),
      says.join('\n'),
    );
    assert.ok(proxy.requests.length > asked);
    assert.ok(!text.includes('secret'));
  });
});
