import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';

import { type Child, startChild } from '#sandbox/child.ts';
import { WORLD_ADDRESS } from '#sandbox/network/addresses.ts';

import { buildPrograms, diagnose, type Diagnosis, type Programs, wrongOf } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { AGENT_SERVES, createKernelNode, type KernelNode } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';

const skip = await networkSkip();
const METADATA = '169.254.169.254';
const METRICS = '--prometheus-listen-addr=127.0.0.1:9621';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

interface Place {
  readonly node: KernelNode;
  readonly podAddress: string;
  /** `doctor agent` on the node, with the flags of its agent and these. */
  onNode(...flags: readonly string[]): Promise<Diagnosis>;
  /** `doctor pod` in the pod. */
  inPod(): Promise<Diagnosis>;
  /** An agent that serves, with its rules in place. */
  startAgent(): Promise<Child>;
}

let programs: Programs;
before(async () => {
  if (skip === false) programs = await buildPrograms();
});
after(() => programs?.remove());

async function createPlace(label: string, backend: 'nft' | 'legacy', topology: 'routed' | 'bridge'): Promise<Place> {
  const node = await createKernelNode({ label, backend, topology });
  const address = await populate(node).catch(async (error: unknown) => {
    await node.remove();
    throw error;
  });
  const { clean } = node.world.environment;
  return {
    node,
    podAddress: address,
    onNode: (...flags) =>
      diagnose({
        prefix: node.nodeExec,
        program: programs.agent,
        args: ['agent', ...node.agentFlags({ flags: [METRICS] }), ...flags],
        environment: clean,
      }),
    inPod: () =>
      diagnose({ prefix: node.podExec(address), program: programs.agent, args: ['pod'], environment: clean }),
    startAgent: async () => {
      const agent = node.startAgent({ flags: [METRICS] });
      await isReady(node, agent, backend);
      return agent;
    },
  };
}

/** Starts a server and a pod with a role, and returns the pod's address. */
async function populate(node: KernelNode): Promise<string> {
  node.world.namespace('team', '.*');
  const { address } = await node.world.pod({ namespace: 'team', name: 'app', role: 'app' });
  await node.startServer();
  return address;
}

/** Resolves when an agent serves, has its rules in place, and a server answers it. */
async function isReady(node: KernelNode, agent: Child, backend: 'nft' | 'legacy'): Promise<void> {
  await agent.line(AGENT_SERVES);
  await eventually('both rules are in place and a server answers', 20_000, async () => {
    const text = await node.onNode('curl', '-s', 'http://127.0.0.1:9621/ready');
    return text === 'ok\n';
  });
  // The last of them, without which an agent is ready, and with which alone the doctor is content.
  await eventually('the backstop is in place', 20_000, async () =>
    (await node.onNode(`ip6tables-${backend}`, '-t', 'security', '-S', 'FORWARD')).includes('kiam-guard'),
  );
}

for (const backend of ['nft', 'legacy'] as const) {
  describe(`doctor on a node of iptables-${backend}`, { skip }, () => {
    let place: Place;
    const iptables = `iptables-${backend}`;
    const other = backend === 'nft' ? 'legacy' : 'nft';
    before(async () => {
      place = await createPlace(`doc${backend}`, backend, 'routed');
    });
    after(() => place?.node.remove());

    const wrong = (diagnosis: Diagnosis, check: string): readonly { says: string; fix: string }[] =>
      diagnosis.findings.filter((finding) => finding.verdict === 'wrong' && finding.check === check);

    it(`doctor on a node of iptables-${backend}: before the agent, misses nothing that the agent puts in place, and finds the port free`, async () => {
      const diagnosis = await place.onNode('--before-start');
      assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
      assert.equal(diagnosis.code, 0);
      const says = diagnosis.findings.map((finding) => `${finding.verdict}: ${finding.says}`);
      assert.ok(says.includes('cannot tell: the redirect (ipv4, nat PREROUTING) is not there yet'), diagnosis.text);
      assert.ok(says.includes('ok: port 3100 is free'), diagnosis.text);
    });

    it(`doctor on a node of iptables-${backend}: without an agent, says that pods reach the role of the node, on the node and in the pod`, async () => {
      const diagnosis = await place.onNode();
      const [guard, redirect] = wrong(diagnosis, 'interception');
      assert.match(
        guard?.says ?? '',
        /^the guard \(ipv4, filter FORWARD\) is missing: pods may reach the node’s role$/,
      );
      assert.match(guard?.fix ?? '', /--guard-only/);
      assert.match(redirect?.says ?? '', /^the redirect \(ipv4, nat PREROUTING\) is missing/);
      assert.match(wrong(diagnosis, 'port')[0]?.says ?? '', /nobody listens on port 3100/);
      assert.deepEqual(wrongOf(await place.inPod()), [
        'pod: this pod reaches the metadata service of its node, and with it the node’s role',
        'pod: tokens of the metadata service reach this pod: its hop limit is over 1',
      ]);
    });

    it(`doctor on a node of iptables-${backend}: says where the agent of EKS has the address of container credentials`, async () => {
      const { node } = place;
      const flags = ['--container-credentials', '--before-start'];
      const asks = async (): Promise<readonly string[]> =>
        wrong(await place.onNode(...flags), 'interception').map(({ says }) => says);
      assert.deepEqual(await asks(), []);
      // A dummy interface where EKS runs; not every kernel has those.
      await node.onNode('ip', 'link', 'add', 'pod-id-link0', 'type', 'veth', 'peer', 'name', 'pod-id-peer');
      for (const name of ['pod-id-link0', 'pod-id-peer']) await node.onNode('ip', 'link', 'set', name, 'up');
      await node.onNode('ip', 'address', 'add', '169.254.170.23/32', 'dev', 'pod-id-link0');
      try {
        assert.deepEqual(await asks(), [
          'EKS Pod Identity has the address of container credentials (pod-id-link0): it answers there, and this agent does not',
        ]);
      } finally {
        await node.onNode('ip', 'link', 'delete', 'pod-id-link0');
      }
      assert.deepEqual(await asks(), []);
    });

    it(`doctor on a node of iptables-${backend} with the guard alone, says in the pod that nothing leads to an agent`, async () => {
      assert.equal((await place.node.guardOnly()).code, 0);
      const [said, ...more] = wrongOf(await place.inPod());
      assert.match(said ?? '', /is refused to this pod: the guard is in place/);
      assert.deepEqual(more, []);
    });

    describe('with an agent', () => {
      let agent: Child;
      before(async () => {
        agent = await place.startAgent();
      });

      it(`doctor on a node of iptables-${backend} with an agent finds nothing wrong, on the node and in the pod`, async () => {
        const diagnosis = await place.onNode();
        assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
        assert.equal(diagnosis.code, 0);
        const inPod = await place.inPod();
        assert.equal(inPod.code, 0, inPod.text);
        assert.match(inPod.findings.at(-1)?.says ?? '', /^this pod gets credentials for app until 20/);
      });

      it(`doctor on a node of iptables-${backend} with an agent knows an interface that pods do not have, and says what they have`, async () => {
        const diagnosis = await place.onNode('--host-interface=cali+');
        const [{ says, fix } = { says: '', fix: '' }] = wrong(diagnosis, 'interfaces');
        assert.match(says, /^--host-interface=cali\+ does not match veth\d+, by which pods’ packets arrive/);
        assert.match(fix, /veth\+/);
      });

      it(`doctor on a node of iptables-${backend} with an agent knows an interface that is the node’s uplink`, async () => {
        await place.node.onNode('ip', 'route', 'add', 'default', 'via', WORLD_ADDRESS);
        const { findings } = await place.onNode('--host-interface=!lo');
        await place.node.onNode('ip', 'route', 'del', 'default');
        const [said, pods] = findings.filter(({ check }) => check === 'interfaces');
        assert.equal(said?.verdict, 'cannot tell');
        assert.match(said?.says ?? '', /^--host-interface=!lo also matches eth0, the node’s uplink/);
        assert.equal(pods?.says, '--host-interface=!lo matches all interfaces of pods: veth2');
      });

      it(`doctor on a node of iptables-${backend} with an agent knows a second agent`, async () => {
        const diagnosis = await place.onNode('--before-start');
        assert.match(wrong(diagnosis, 'port')[0]?.says ?? '', /port 3100 is in use by an agent of this Kiam/);
      });

      it(`doctor on a node of iptables-${backend} with an agent names each way in which the rules of an agent that is gone are no longer in force`, async () => {
        await agent.stop('SIGKILL');
        const { node } = place;

        await node.onNode(iptables, '-I', 'FORWARD', '-i', 'veth+', '-j', 'ACCEPT');
        const [shadowed] = wrong(await place.onNode(), 'interception');
        assert.match(
          shadowed?.says ?? '',
          /^the guard \(ipv4.* is not in force: another rule comes before it: .*ACCEPT/,
        );
        await node.onNode(iptables, '-D', 'FORWARD', '1');

        const [, first = ''] = (await node.onNode(iptables, '-S', 'FORWARD')).split('\n');
        await node.onNode(iptables, '-D', 'FORWARD', '1');
        await node.onNode(iptables, ...first.split(' '));
        const [disordered] = wrong(await place.onNode(), 'interception');
        assert.match(disordered?.says ?? '', /its rules are in the wrong order/);

        const nat = (await node.onNode(iptables, '-t', 'nat', '-S', 'PREROUTING')).split('\n');
        const redirect = nat.find((line) => line.startsWith('-A')) ?? '';
        await node.onNode(iptables, '-t', 'nat', '-F', 'PREROUTING');
        await node.onNode(`iptables-${other}`, '-t', 'nat', ...redirect.split(' '));
        const elsewhere = wrong(await place.onNode(), 'interception').find(({ says }) =>
          says.startsWith('the redirect'),
        );
        assert.match(elsewhere?.says ?? '', new RegExp(`is in iptables-${other}, while this node uses ${iptables}`));
        assert.match(elsewhere?.fix ?? '', /restart the agent/);
        await node.onNode(`iptables-${other}`, '-t', 'nat', '-F', 'PREROUTING');
      });

      it(`doctor on a node of iptables-${backend} with an agent knows kube2iam by its rule and by its port`, async (t) => {
        const { node } = place;
        const program =
          "require('http').createServer((_, r) => r.end('{\"hostIP\":\"192.0.2.1\"}')).listen(8181, () => console.log('up'))";
        const kube2iam = startChild({
          name: 'kube2iam',
          argv: [...node.nodeExec, process.execPath, '-e', program],
          environment: node.world.environment.clean,
        });
        t.after(() => kube2iam.stop('SIGKILL'));
        await kube2iam.line(/up/);
        assert.match(wrong(await place.onNode(), 'interceptors')[0]?.says ?? '', /^kube2iam listens on port 8181/);
        const rule = ['-t', 'nat', '-A', 'PREROUTING', '-d', METADATA, '-i', 'veth+', '-p', 'tcp', '--dport', '80'];
        await node.onNode(iptables, ...rule, '-j', 'DNAT', '--to-destination', `${node.network.node.address}:8181`);
        const said = wrong(await place.onNode(), 'interceptors');
        assert.equal(said.length, 1);
        assert.match(said[0]?.says ?? '', /redirects pods to 198\.18\.0\.1:8181, where kube2iam answers/);
        assert.match(said[0]?.fix ?? '', /only one of them may run on a node/);
      });
    });
  });
}

describe('doctor in the container of an agent', { skip }, () => {
  it('doctor in the container of an agent needs no flags: it takes those of the first process', async (t) => {
    const { node } = await createPlace('doccontainer', 'nft', 'routed');
    t.after(() => node.remove());
    const flags = node.agentFlags({ flags: [METRICS] });
    const container = startChild({
      name: 'container',
      argv: [
        ...node.nodeExec,
        'unshare',
        '--fork',
        '--kill-child',
        '--pid',
        '--mount-proc',
        process.execPath,
        programs.agent,
      ].concat(['agent', '--json-log'], flags),
      environment: node.world.environment.clean,
    });
    t.after(() => container.stop('SIGKILL'));
    await isReady(node, container, 'nft');
    const parent = container.process.pid ?? 0;
    const first = (await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8')).trim();
    const diagnosis = await diagnose({
      prefix: ['nsenter', '--target', first, '--pid', '--mount', '--net'],
      program: programs.agent,
      args: [],
      environment: node.world.environment.clean,
    });
    assert.equal(diagnosis.findings[0]?.says, `agent --json-log ${flags.join(' ')} --json`);
    assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
    assert.equal(diagnosis.code, 0);
  });
});

describe('doctor on a node with a bridge', { skip }, () => {
  it('doctor on a node with a bridge takes the bridge for the interface of pods', async (t) => {
    const place = await createPlace('docbridge', 'nft', 'bridge');
    t.after(() => place.node.remove());
    await place.startAgent();
    const diagnosis = await place.onNode();
    assert.deepEqual(wrongOf(diagnosis), [], diagnosis.text);
    const says = diagnosis.findings.find(({ check }) => check === 'interfaces')?.says;
    assert.equal(says, '--host-interface=kbr0 matches all interfaces of pods: kbr0');
    const missed = await place.onNode('--host-interface=veth+');
    assert.match(wrongOf(missed).join('\n'), /--host-interface=veth\+ does not match kbr0/);
  });
});
