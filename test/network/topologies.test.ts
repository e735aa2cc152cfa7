import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { parseAllDocuments } from 'yaml';

import type { Child } from '#sandbox/child.ts';
import { objectAt } from '#sandbox/json.ts';
import { podAddress6 } from '#sandbox/network/addresses.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { LISTING } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createKernelNode, type KernelNode, type KernelNodeOptions, START_LIMIT_MS } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { createVxlanAttacker } from '../support/other-ways.ts';
import { askFromPod } from '../support/pod-request.ts';

const skip = await networkSkip();
const V4 = '169.254.169.254';
const V6 = 'fd00:ec2::254';

type Case = Pick<KernelNodeOptions, 'topology' | 'network'> & { readonly name: string; readonly hasTunnels?: boolean };

/** How CNI plugins connect pods, and what the interfaces are called then. */
const CASES: readonly Case[] = [
  { name: 'Calico', network: { interfacePrefix: 'cali' } },
  { name: 'Amazon VPC CNI on Amazon Linux 2023', network: { interfacePrefix: 'eni', uplink: 'ens5' } },
  { name: 'Amazon VPC CNI with security groups for pods', network: { interfacePrefix: 'vlan', uplink: 'ens5' } },
  { name: 'a bridge whose ports iptables does not see', topology: 'bridge', network: { bridgeNetfilter: false } },
  { name: 'a bridge with br_netfilter', topology: 'bridge', network: { bridgeNetfilter: true } },
  { name: 'flannel with VXLAN', topology: 'bridge', network: { bridgeNetfilter: true }, hasTunnels: true },
];

/** The same for all: what the manifest says. */
const hostInterface = await valueOfManifest('--host-interface');

describe(`a node of two families, with --host-interface=${hostInterface}`, { skip, concurrency: 3 }, () => {
  CASES.forEach(({ name, topology, network, hasTunnels = false }, index) => {
    describe(`with ${name}`, { concurrency: false }, () => {
      let node: KernelNode;
      let agent: Child;
      const pods: WorldPod[] = [];

      before(async () => {
        node = await createKernelNode({
          label: `t${index}`,
          backend: 'nft',
          ...(topology === undefined ? {} : { topology }),
          ...(network === undefined ? {} : { network }),
          hostInterface,
        });
        node.world.namespace('team', '.*');
        for (const role of ['one', 'two']) pods.push(await dualStackPod(node, role));
        await node.guardOnly();
        // It detects the base ARN and finds its own credentials at the metadata service of its node, beside the agent.
        agent = node.startAgent();
        await node.intercepts(agent);
        await node.startServer();
        await agent.line(/the server streams what the pods of this node may have/, START_LIMIT_MS);
        node.forgetStrangers();
      });
      after(() => node.remove());

      it('each pod gets credentials of its own role, by both addresses of the metadata service', async () => {
        const said: string[] = [];
        for (const { name: role, address } of pods) {
          for (const service of [V4, V6]) {
            const ask = (path: string) => askFromPod(node.podExec(address), path, service);
            await eventually(`${role} is served at ${service}`, 30_000, async () => {
              const [listed, credentials] = [await ask(LISTING), await ask(`${LISTING}${role}`)];
              said.push(
                `${role} ${service} ${listed.status} ${listed.body}, ${credentials.status} ${credentials.body}`,
              );
              if (listed.status !== 200 || credentials.status !== 200) return false;
              const key = /"AccessKeyId" ?: ?"(\w+)"/.exec(credentials.body)?.[1] ?? '';
              const { roleArn } = node.world.sts.identify(key) ?? {};
              assert.deepEqual([listed.body, roleArn], [role, `${node.world.roleBaseArn}${role}`]);
              return true;
            }).catch((cause: unknown) => {
              throw new Error(said.slice(-5).join('\n'), { cause });
            });
          }
        }
        assert.deepEqual(node.strangers(), [], 'the metadata service saw nobody but the node');
      });

      it('the programs of the node itself reach the real metadata service, also those with the host’s network', async () => {
        const asked = await askFromPod(node.nodeExec, LISTING);
        assert.deepEqual(asked, { status: 200, body: 'node' });
        assert.equal((await askFromPod(node.nodeExec, '/', V6)).body, 'node');
      });

      it(`a node of two families, with --host-interface=${hostInterface} with ${name}: without its agent a pod gets nothing, of its node least of all`, async () => {
        if (hasTunnels) await createVxlanAttacker(node.network);
        await agent.stop('SIGKILL');
        for (const { address } of pods) {
          for (const service of [V4, V6]) {
            assert.equal((await askFromPod(node.podExec(address), LISTING, service)).status, 0);
          }
        }
        await node.onNode('iptables', '-t', 'nat', '-F', 'PREROUTING');
        await node.onNode('ip6tables', '-t', 'nat', '-F', 'PREROUTING');
        for (const { address } of pods) {
          for (const service of [V4, V6]) {
            assert.equal((await askFromPod(node.podExec(address), LISTING, service)).status, 0);
          }
        }
        assert.deepEqual(node.strangers(), [], 'the metadata service saw nobody but the node');
        assert.equal((await askFromPod(node.nodeExec, LISTING)).body, 'node');
      });
    });
  });
});

/** A pod whose addresses of both families are known to Kubernetes. */
async function dualStackPod({ world }: KernelNode, role: string): Promise<WorldPod> {
  const pod = await world.pod({ namespace: 'team', name: role, role });
  const object = world.api.pod('team', role);
  assert.ok(object !== undefined);
  const podIPs = [{ ip: pod.address }, { ip: podAddress6(pod.address) }];
  world.api.putPod({ ...object, status: { ...objectAt(object, 'status'), podIPs } });
  return pod;
}

async function valueOfManifest(flag: string): Promise<string> {
  const text = await readFile(new URL('../../deploy/agent.yaml', import.meta.url), 'utf8');
  const daemonSet = parseAllDocuments(text)
    .map((document) => document.toJS())
    .find(({ kind }) => kind === 'DaemonSet');
  const args: string[] = daemonSet.spec.template.spec.containers[0].args;
  return args.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1) ?? assert.fail(flag);
}
