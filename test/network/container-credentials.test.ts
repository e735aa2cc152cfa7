import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Registry } from 'prom-client';

import { createCommandFollower, createCommandRunner } from '#agent/interception/command.ts';
import { ANY_INTERFACE } from '#agent/interception/host-interface.ts';
import { Interception } from '#agent/interception/interception.ts';
import { createInterceptionMetrics } from '#agent/interception/metrics.ts';
import { uninstall } from '#agent/interception/uninstall.ts';
import { systemClock } from '#runtime/clock.ts';

import { eventually } from '../support/eventually.ts';
import { createNetworkWorld, networkSkip, type NetworkWorld } from '../support/network-world.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const V4 = '169.254.170.23';
const V6 = 'fd00:ec2::23';
const LIMIT_MS = 10_000;
const skip = await networkSkip();

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

for (const backend of ['nft', 'legacy'] as const) {
  describe(`redirect of container credentials by iptables-${backend}`, { skip }, () => {
    let folder: string;
    let world: NetworkWorld;
    let interception: Interception;
    let names: string[] = [];
    const registry = new Registry();
    const { logger, lines } = recordingLogger();
    const iptables = `iptables-${backend}`;
    const common = () => ({
      clock: systemClock,
      logger,
      run: createCommandRunner({
        clock: systemClock,
        prefix: world.network.node.exec,
        environment: {
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          LC_ALL: 'C',
          XTABLES_LOCKFILE: join(folder, 'xtables.lock'),
        },
      }),
      signal: new AbortController().signal,
      lockWaitSeconds: 1,
    });

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kiam-network-'));
      world = await createNetworkWorld('routed');
      const { node } = world.network;
      await world.node.listen('::', 3100, 'agent');
      await world.node.listen('::', 3101, 'credentials');
      await world.onNode(iptables, '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
      // As nodes have it: by this way packets for an address of the link leave the node's own programs.
      for (const [family, to] of [
        ['-4', '169.254.169.254'],
        ['-6', 'fd00:ec2::254'],
      ] as const) {
        const gateway = /via (\S+)/.exec(await world.onNode('ip', family, 'route', 'get', to))?.[1] ?? '';
        await world.onNode('ip', family, 'route', 'add', 'default', 'via', gateway);
      }
      interception = new Interception({
        ...common(),
        hostInterface: ANY_INTERFACE,
        guardInterface: ANY_INTERFACE,
        hostAddresses: { ipv4: node.address, ipv6: node.address6 },
        port: 3100,
        containerPort: 3101,
        metrics: createInterceptionMetrics(registry),
        follow: createCommandFollower({ prefix: node.exec }),
        listInterfaces: () => Promise.resolve(names),
      });
      interception.start();
      await eventually('all is in place', LIMIT_MS, () => interception.status().reason === '');
    });
    after(async () => {
      await interception.close({ removeRedirect: false, removeGuard: false });
      await world.remove();
      await rm(folder, { recursive: true });
    });

    const rulesOf = async (): Promise<string> =>
      (await world.onNode(iptables, '-t', 'nat', '-S')) + (await world.onNode(iptables, '-S', 'FORWARD'));
    const asks = async (who: 'pod' | 'node', address: string): Promise<string> => {
      const answer = await world[who].get(address, 80);
      return answer.ok ? answer.body : answer.error;
    };

    for (const address of [V4, V6]) {
      it(`a pod reaches the port of container credentials at ${address}, and no other port there`, async () => {
        assert.match(await asks('pod', address), /^credentials for /);
        assert.deepEqual(await world.pod.get(address, 8080), { ok: false, error: 'ECONNREFUSED' });
      });

      it(`a program with the host network reaches it at ${address}, from an address of the node`, async () => {
        const { node } = world.network;
        const own = address === V4 ? node.address : node.address6;
        const answer = await asks('node', address);
        assert.match(answer, /^credentials for /);
        assert.ok(answer.includes(own), `${answer} names ${own}`);
      });
    }

    it('the metadata service is redirected as without it', async () => {
      assert.match(await asks('pod', '169.254.169.254'), /^agent for /);
    });

    it('rules that are flushed come back', async () => {
      await world.onNode(iptables, '-t', 'nat', '-F');
      await world.onNode(iptables, '-F', 'FORWARD');
      await eventually('the pod is answered', LIMIT_MS, async () => (await asks('pod', V4)).startsWith('credentials'));
      await eventually('the node is answered', LIMIT_MS, async () =>
        (await asks('node', V4)).startsWith('credentials'),
      );
      await eventually('the guard is there', LIMIT_MS, async () => (await rulesOf()).includes('kiam-container-guard'));
      await eventually('it is counted', LIMIT_MS, async () =>
        /restored_total\{rule="container-output"\} 1\n/.test(await registry.metrics()),
      );
    });

    it('where the agent of EKS has the address ours makes way, says so, and comes back after it', async () => {
      names = ['lo', 'pod-id-link0'];
      await eventually('our rules have gone', LIMIT_MS, async () => !(await rulesOf()).includes(V4));
      await eventually('it is said', LIMIT_MS, () =>
        lines.some(({ message }) => message.startsWith('EKS Pod Identity has the address')),
      );
      await eventually('nothing is wrong', LIMIT_MS, () => interception.status().reason === '');
      assert.match(await asks('pod', '169.254.169.254'), /^agent for /);
      names = ['lo'];
      await eventually('they are back', LIMIT_MS, async () => (await asks('pod', V4)).startsWith('credentials'));
    });

    it('removing Kiam takes these rules away too', async () => {
      await interception.close({ removeRedirect: false, removeGuard: false });
      const { node } = world.network;
      const addresses = [node.address, node.address6];
      const outcome = await uninstall({ ...common(), addresses, port: 3100, containerPort: 3101 });
      assert.equal(outcome.ok, true);
      const left = (await rulesOf()) + (await world.onNode(`ip6tables-${backend}`, '-t', 'nat', '-S'));
      assert.ok(!left.includes(V4) && !left.includes(V6) && !left.includes('kiam'), left);
    });
  });
}
