import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { MIRROR_ANNOTATION, ROLE_ANNOTATION } from '#domain/pod.ts';

import type { ApiClient } from '../support/api-client.ts';
import { type Answer, askHttp, type Cluster, type Daemon, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, type NodeName, NODES, startControlPlane } from './control-plane.ts';
import { findAssets } from './find-assets.ts';
import { type RunningPod, runPod, serviceAccountToken } from './pods.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KUBE_SYSTEM = 'kube-system';
const AUDIENCE = 'kiam-server';
const LIMIT_MS = 30_000;
const [HERE, THERE] = NODES;

const assets = findAssets();

/** An agent's process and the pod whose token it has. */
interface ProvenAgent {
  readonly daemon: Daemon;
  readonly pod: RunningPod;
}

describe(
  'root on one node, with the credentials of its kubelet and its agent, before the API server of Kubernetes',
  { skip: assets.skip },
  () => {
    let plane: ControlPlane;
    let cluster: Cluster;
    let server: Daemon;
    let kubeconfig: string;
    let adminSocket: string;
    /** What root on the first node has. */
    let kubelet: ApiClient;
    let attacker: ProvenAgent;
    /** The agent of the second node; it answers from its memory. */
    let agent: ProvenAgent;
    /** The same, and it asks the server for each answer. */
    let asking: Daemon;
    let own: RunningPod;
    let victim: RunningPod;
    let marks = 0;

    const pathOf = ({ namespace, name }: { namespace: string; name: string }): string =>
      `/api/v1/namespaces/${namespace}/pods/${name}`;
    const namespace = (name: string, permitted: string): Promise<unknown> =>
      plane.admin.demand('POST', '/api/v1/namespaces', {
        metadata: { name, annotations: { [PERMITTED_ANNOTATION]: permitted } },
      });
    const startServer = (...flags: readonly string[]): Promise<Daemon> =>
      cluster.startServer({
        flags,
        exactly: [
          'server',
          '--json-log',
          '--level=info',
          '--bind=127.0.0.1:0',
          '--prometheus-listen-addr=127.0.0.1:0',
          `--kubeconfig=${kubeconfig}`,
          `--role-base-arn=${cluster.world.roleBaseArn}`,
          '--agent-identity=token',
          ...cluster.tlsFlags('server'),
        ],
      });
    const ask = (of: Daemon, { address }: { address: string }, role: string): Promise<Answer> =>
      askHttp({ port: of.port, from: address, path: `${LISTING}${role}` });
    const statusOf = async (of: Daemon, pod: { address: string }, role: string): Promise<number> =>
      (await ask(of, pod, role)).status;
    const serves = (of: Daemon, pod: RunningPod, role: string): Promise<unknown> =>
      eventually(`${pod.name} has ${role}`, LIMIT_MS, async () => (await statusOf(of, pod, role)) === 200);

    /** Resolves once the server knows all that the API has been told up to now: it hears of changes in their order. */
    const serverKnows = async (): Promise<void> => {
      marks += 1;
      const mark = await runPod(plane.admin, {
        namespace: 'team',
        name: `mark-${marks}`,
        address: `127.1.9.${marks}`,
        role: 'mark',
        node: THERE.name,
      });
      await serves(agent.daemon, mark, 'mark');
    };
    const token = (by: ApiClient, pod: RunningPod, account = 'kiam-agent'): Promise<string> =>
      serviceAccountToken(by, { namespace: pod.namespace, name: account, audience: AUDIENCE, pod });
    const tokenFlag = async (name: string, text: string): Promise<string> => {
      const path = join(plane.folder, `${name}.token`);
      await writeFile(path, text);
      return `--agent-token-file=${path}`;
    };
    /** An agent as a DaemonSet runs it on a node, with a token that the node's kubelet has asked for. */
    const startAgent = async (node: NodeName, name: string): Promise<ProvenAgent> => {
      const address = NODES.find((known) => known.name === node)?.address ?? '';
      const pod = await runPod(plane.admin, {
        namespace: KUBE_SYSTEM,
        name,
        address,
        hostNetwork: true,
        serviceAccountName: 'kiam-agent',
        node,
        tokenAudience: AUDIENCE,
      });
      const flag = await tokenFlag(name, await token(plane.asKubelet(node), pod));
      return { daemon: await cluster.startAgent(server.port, { flags: [flag] }), pod };
    };
    const ownerOf = async (node: NodeName): Promise<object> => {
      const { metadata } = await plane.admin.demand('GET', `/api/v1/nodes/${node}`);
      return { apiVersion: 'v1', kind: 'Node', name: node, uid: metadata.uid, controller: true };
    };
    /** Makes a mirror pod as the kubelet of the first node, which says what it likes of it. */
    const mirror = async (
      name: string,
      role: string,
      status: { hostIP: string; podIP: string },
    ): Promise<RunningPod> => {
      const { metadata } = await kubelet.demand('POST', '/api/v1/namespaces/team/pods', {
        metadata: {
          name,
          annotations: { [MIRROR_ANNOTATION]: 'anything', [ROLE_ANNOTATION]: role },
          ownerReferences: [{ ...(await ownerOf(HERE.name)) }],
        },
        spec: { nodeName: HERE.name, containers: [{ name: 'main', image: 'example.com/app' }] },
      });
      const pod = { namespace: 'team', name, uid: metadata.uid, address: status.podIP };
      await patchStatus(pod, status);
      return pod;
    };
    const patchStatus = (pod: RunningPod, { hostIP, podIP }: { hostIP: string; podIP?: string }): Promise<unknown> => {
      const ownAddress = podIP === undefined ? {} : { podIP, podIPs: [{ $patch: 'replace' }, { ip: podIP }] };
      const hostIPs = [{ $patch: 'replace' }, { ip: hostIP }];
      const status = { phase: 'Running', hostIP, hostIPs, ...ownAddress };
      return kubelet.demand('PATCH', `${pathOf(pod)}/status`, { status });
    };

    before(async () => {
      if (assets.skip !== false) return;
      plane = await startControlPlane(assets.folder);
      cluster = await startCluster();
      const env = { PATH: assets.path, HOME: plane.folder, KUBECONFIG: plane.adminKubeconfig };
      await promisify(execFile)('kubectl', ['apply', '-f', 'deploy/'], { cwd: ROOT, env });
      for (const { name } of NODES) await plane.admin.demand('POST', '/api/v1/nodes', { metadata: { name } });
      await namespace('team', '.*');
      await namespace('limited', '.*:role/limited-.*');
      kubelet = plane.asKubelet(HERE.name);
      const account = await serviceAccountToken(plane.admin, { namespace: KUBE_SYSTEM, name: 'kiam-server' });
      kubeconfig = await plane.kubeconfigOf('kiam-server', account);
      adminSocket = join(plane.folder, 'admin.sock');
      server = await startServer(`--admin-socket=${adminSocket}`);
      own = await runPod(plane.admin, { namespace: 'team', name: 'own', address: '127.1.1.1', role: 'own' });
      victim = await runPod(plane.admin, {
        namespace: 'team',
        name: 'victim',
        address: '127.1.2.1',
        role: 'victim',
        node: THERE.name,
      });
      attacker = await startAgent(HERE.name, 'agent-1');
      agent = await startAgent(THERE.name, 'agent-2');
      const flag = await tokenFlag('asking', await token(plane.asKubelet(THERE.name), agent.pod));
      asking = await cluster.startAgent(server.port, { flags: [flag, '--no-node-store'] });
      await serves(attacker.daemon, own, 'own');
      for (const daemon of [agent.daemon, asking]) await serves(daemon, victim, 'victim');
    });
    after(async () => {
      await cluster?.close();
      await plane?.stop();
    });

    /** What the first node's agent, as it runs and begun again, gets for the second node's pod, and that it has its own. */
    const getsNothingOfVictim = async (): Promise<void> => {
      await serverKnows();
      const flag = await tokenFlag('again', await token(kubelet, attacker.pod));
      const again = await cluster.startAgent(server.port, { flags: [flag] });
      for (const daemon of [attacker.daemon, again]) {
        await serves(daemon, own, 'own');
        for (const role of ['', 'victim']) assert.equal(await statusOf(daemon, victim, role), 503, role);
      }
      await again.child.stop();
    };
    const victimIsServed = async (): Promise<void> => {
      await serverKnows();
      for (const daemon of [agent.daemon, asking]) assert.equal(await statusOf(daemon, victim, 'victim'), 200);
    };

    it('root on one node, with the credentials of its kubelet and its agent, before the API server of Kubernetes may not do what the rest relies on: bind pods, write of other nodes’ pods, ask for their tokens', async () => {
      const plain = {
        metadata: { name: 'plain' },
        spec: { nodeName: HERE.name, containers: [{ name: 'a', image: 'b' }] },
      };
      const attempts = [
        ['POST', '/api/v1/namespaces/team/pods', plain],
        ['PATCH', pathOf(own), { metadata: { annotations: { [ROLE_ANNOTATION]: 'victim' } } }],
        ['PATCH', `${pathOf(victim)}/status`, { status: { hostIP: HERE.address } }],
      ] as const;
      for (const [method, path, body] of attempts) {
        assert.equal((await kubelet.ask(method, path, body)).status, 403, `${method} ${path}`);
      }
      await assert.rejects(token(kubelet, agent.pod), / 403 /);
      await assert.rejects(token(kubelet, own, 'kiam-agent'), / 404 | 403 /);
    });

    it('root on one node, attack 1: says that its agent’s pod is on the other node’s address', async () => {
      await patchStatus(attacker.pod, { hostIP: THERE.address });
      const { status } = await plane.admin.demand('GET', pathOf(attacker.pod));
      assert.deepEqual([status.hostIP, status.hostIPs], [THERE.address, [{ ip: THERE.address }]], 'the API takes it');
      await getsNothingOfVictim();
      await victimIsServed();
    });

    it('root on one node, attack 2: makes a mirror pod with a role that no pod has', async () => {
      const made = await mirror('made-up', 'admin', { hostIP: HERE.address, podIP: '127.1.1.50' });
      await serverKnows();
      assert.equal(await statusOf(attacker.daemon, made, 'admin'), 503);
      const unmarked = { metadata: { annotations: { [MIRROR_ANNOTATION]: null } } };
      assert.equal((await kubelet.ask('PATCH', `${pathOf(made)}/status`, unmarked)).status, 422, 'the mark stays');
    });

    it('root on one node, attack 3: makes a mirror pod with the other pod’s address and node, and gives both to a pod of its own', async () => {
      await mirror('rival', 'admin', { hostIP: THERE.address, podIP: victim.address });
      await victimIsServed();
      const pawn = await runPod(plane.admin, { namespace: 'team', name: 'pawn', address: '127.1.1.60', role: 'own' });
      await patchStatus(pawn, { hostIP: THERE.address, podIP: victim.address });
      const { status } = await plane.admin.demand('GET', pathOf(pawn));
      assert.deepEqual([status.hostIP, status.podIP], [THERE.address, victim.address], 'the API takes it');
      await victimIsServed();
      const newcomer = await runPod(plane.admin, {
        namespace: 'team',
        name: 'newcomer',
        address: '127.1.2.2',
        role: 'newcomer',
        node: THERE.name,
      });
      await patchStatus(pawn, { hostIP: THERE.address, podIP: newcomer.address });
      await victimIsServed();
      for (const daemon of [agent.daemon, asking]) await serves(daemon, newcomer, 'newcomer');
      assert.equal(await statusOf(attacker.daemon, newcomer, 'newcomer'), 403, 'its own pod has another role');
    });

    it('root on one node, attack 4: uses the token of another pod with hostNetwork, made for our audience', async () => {
      await plane.admin.demand('POST', '/api/v1/namespaces/team/serviceaccounts', { metadata: { name: 'other' } });
      const pod = await runPod(plane.admin, {
        namespace: 'team',
        name: 'host-network',
        address: HERE.address,
        hostNetwork: true,
        serviceAccountName: 'other',
        tokenAudience: AUDIENCE,
      });
      const flag = await tokenFlag('other', await token(kubelet, pod, 'other'));
      await serverKnows();
      const imposter = await cluster.startAgent(server.port, { flags: [flag] });
      for (const [asked, role] of [
        [own, 'own'],
        [victim, 'victim'],
      ] as const) {
        assert.equal(await statusOf(imposter, asked, role), 403);
      }
      await server.child.line(/a token of another account than --agent-service-account/);
      await imposter.child.stop();
    });

    it('root on one node, with the credentials of its kubelet and its agent, before the API server of Kubernetes can still annotate pods of its own node by their status, within what their namespaces permit', async () => {
      const there = await runPod(plane.admin, {
        namespace: 'limited',
        name: 'limited',
        address: '127.1.1.70',
        role: 'limited-a',
      });
      for (const pod of [own, there]) {
        const annotated = { metadata: { annotations: { [ROLE_ANNOTATION]: 'victim' } } };
        await kubelet.demand('PATCH', `${pathOf(pod)}/status`, annotated);
      }
      await serverKnows();
      assert.equal(await statusOf(attacker.daemon, own, 'victim'), 200);
      assert.equal(await statusOf(attacker.daemon, there, 'victim'), 403);
    });

    it('root on one node, with the credentials of its kubelet and its agent, before the API server of Kubernetes gets nothing by annotations where roles come from ServiceAccounts alone', async () => {
      const accounts = '/api/v1/namespaces/team/serviceaccounts';
      const metadata = { name: 'bound', annotations: { [ROLE_ANNOTATION]: 'bound' } };
      await plane.admin.demand('POST', accounts, { metadata });
      const bound = await runPod(plane.admin, {
        namespace: 'team',
        name: 'bound',
        address: '127.1.1.90',
        serviceAccountName: 'bound',
      });
      await kubelet.demand('PATCH', `${pathOf(bound)}/status`, {
        metadata: { annotations: { [ROLE_ANNOTATION]: 'victim' } },
      });
      await serverKnows();
      assert.equal(await statusOf(attacker.daemon, bound, 'victim'), 200, 'with --binding=both it has the role');
      assert.notEqual((await kubelet.ask('PATCH', `${accounts}/bound`, { metadata: { annotations: {} } })).status, 200);

      const strict = await startServer('--binding=serviceaccount');
      const flag = await tokenFlag('strict', await token(kubelet, attacker.pod));
      const there = await cluster.startAgent(strict.port, { flags: [flag] });
      await serves(there, bound, 'bound');
      assert.equal(await statusOf(there, bound, 'victim'), 403);
      for (const { child } of [there, strict]) await child.stop();
    });

    it('root on one node, with the credentials of its kubelet and its agent, before the API server of Kubernetes loses its stream within 10 s of the deletion of its agent’s pod, and gets none by the same token', async (t) => {
      const streams = async (): Promise<unknown> => {
        const { lines } = await cluster.run(['explain', 'team/own', `--admin-socket=${adminSocket}`, '--json']);
        const { links } = JSON.parse(lines.join('\n'));
        return links.find(({ link }: { link: string }) => link === 'agent')?.facts.streams;
      };
      assert.equal(await streams(), 1);
      const deletedMs = performance.now();
      await plane.admin.demand('DELETE', `${pathOf(attacker.pod)}?gracePeriodSeconds=0`);
      await eventually('the stream has ended', 10_000, async () => (await streams()) === 0);
      t.diagnostic(`the stream had ended ${(performance.now() - deletedMs).toFixed(0)} ms after the deletion`);
      const late = await runPod(plane.admin, { namespace: 'team', name: 'late', address: '127.1.1.80', role: 'late' });
      await serverKnows();
      assert.equal(await statusOf(attacker.daemon, late, 'late'), 503);
      assert.equal(await streams(), 0);
    });
  },
);
