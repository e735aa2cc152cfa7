import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startChild } from '#sandbox/child.ts';

import { LISTING } from '../support/cluster.ts';
import { AGENT_SERVES, createKernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { askFromPod } from '../support/pod-request.ts';

const skip = await networkSkip();
const KIAM = fileURLToPath(new URL('../../src/bin/kiam.ts', import.meta.url));

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

describe('kiam kube2iam with the arguments of the example for EKS', { skip }, () => {
  it('stands between pods and the role of the node, and leaves the guard in place when it is killed', async (t) => {
    const node = await createKernelNode({ label: 'k2i', backend: 'nft' });
    t.after(() => node.remove());
    const { world, network } = node;
    world.namespace('team');
    const [reader, plain] = await Promise.all([
      world.pod({ namespace: 'team', name: 'reader', role: 'reader' }),
      world.pod({ namespace: 'team', name: 'plain' }),
    ]);
    const child = startChild({
      name: 'kube2iam',
      argv: [
        ...node.nodeExec,
        process.execPath,
        KIAM,
        'kube2iam',
        '--auto-discover-base-arn',
        '--iptables=true',
        `--host-ip=${network.node.address}`,
        '--node=node-1',
        `--host-interface=${network.hostInterface}`,
        `--kubeconfig=${world.kubeconfigs.server}`,
        '--log-format=json',
      ],
      environment: { ...world.environment.clean, ...world.environment.sts },
    });
    t.after(() => child.stop('SIGKILL'));
    await child.line(AGENT_SERVES);
    await child.line(/"rule":"redirect"/);
    world.metadata.clearRequests();

    assert.deepEqual(await askFromPod(node.podExec(reader.address), LISTING), { status: 200, body: 'reader' });
    const own = await askFromPod(node.podExec(reader.address), `${LISTING}reader`);
    assert.equal(own.status, 200);
    const { AccessKeyId } = JSON.parse(own.body) as { AccessKeyId: string };
    assert.equal(world.sts.identify(AccessKeyId)?.roleArn, `${world.roleBaseArn}reader`);
    const other = await askFromPod(node.podExec(plain.address), `${LISTING}reader`);
    assert.deepEqual(other, { status: 403, body: 'Invalid role reader' });
    assert.deepEqual(await askFromPod(node.podExec(plain.address), `${LISTING}node`), {
      status: 403,
      body: 'Invalid role node',
    });
    assert.match(
      await node.onNode('iptables-nft', '-t', 'nat', '-S', 'PREROUTING'),
      new RegExp(`--dport 80 .*--to-destination ${network.node.address}:8181`),
    );

    await child.stop('SIGKILL');
    assert.equal((await askFromPod(node.podExec(plain.address), LISTING)).status, 0);
    assert.deepEqual(node.strangers(), []);
  });
});
