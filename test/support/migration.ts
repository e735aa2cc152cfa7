import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

import { type Bundles, buildBundles } from '../bench/bundles.ts';
import { type CredentialsPoller, startCredentialsPoller } from './credentials-poller.ts';
import { eventually } from './eventually.ts';
import { commandsOf } from './page-commands.ts';
import { startTestCluster, type TestCluster } from './sandbox-cluster.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = await readFile(`${ROOT}docs/migrating-from-kiam.md`, 'utf8');
const KIAM_IMAGE = 'quay.io/uswitch/kiam:v4.2';
/** What a reader puts in. */
const PLACEHOLDERS = { REGISTRY: 'registry.example' } as const;
/** Kiam's own probes and roll-outs take their time, and more where many tests share the machine. */
const LIMIT_MS = 900_000;
/** Longer than any replacement of an agent, also where many tests share the machine. */
const LONGEST_GAP_MS = 90_000;

/** Runs the commands of docs/migrating-from-kiam.md, there and back; `kiam` makes the program in place of Kiam's image. */
export function describeMigration(
  title: string,
  kiam: (bundles: Bundles) => readonly string[],
  skip: string | false,
): void {
  describe(title, { skip, timeout: LIMIT_MS }, () => {
    let cluster: TestCluster;
    const pods = ['one', 'two'].map((name) => ({ name, role: `team-a/${name}` }));
    const pollers = new Map<string, CredentialsPoller>();

    before(async () => {
      const bundles = buildBundles();
      const { agent, server } = bundles;
      cluster = await startTestCluster({
        workingFolder: ROOT,
        images: {
          [KIAM_IMAGE]: kiam(bundles),
          'kiam-agent:0.1.0': [...agent.node, agent.file],
          [`${PLACEHOLDERS.REGISTRY}/kiam-server:0.1.0`]: [...server.node, server.file],
        },
      });
      await cluster.shell(`"${process.execPath}" ${server.file} pki | kubectl apply -f -`);
      await cluster.shell('kubectl apply -f test/support/kiam-install.yaml');
      await cluster.shell('kubectl -n kube-system rollout status daemonset/kiam-server');
      cluster.world.namespace('team-a', '.*');
      for (const pod of pods) {
        const { address } = await cluster.world.pod({ namespace: 'team-a', ...pod });
        await servedByKiam(address, pod.role);
        pollers.set(pod.role, startCredentialsPoller(cluster.podExec(address)));
        await answersAgain(pod.role);
      }
    });
    after(async () => {
      await Promise.all([...pollers.values()].map((poller) => poller.stop()));
      await cluster.close();
    });

    /** Until Kiam's agent has found a server, it comes and goes, and with it the redirect: that is before the change. */
    async function servedByKiam(address: string, role: string): Promise<void> {
      const poller = startCredentialsPoller(cluster.podExec(address));
      const isOwn = (key: string): boolean =>
        cluster.world.sts.identify(key)?.roleArn === `${cluster.world.roleBaseArn}${role}`;
      await eventually(`${role} is served by Kiam`, LONGEST_GAP_MS, async () =>
        Object.keys((await poller.report()).keys).some(isOwn),
      );
      await poller.stop();
    }

    async function answersAgain(role: string): Promise<void> {
      const poller = pollers.get(role) ?? assert.fail(role);
      const count = async (): Promise<number> => sum(Object.values((await poller.report()).keys));
      const before = await count();
      await eventually(`${role} gets credentials`, LONGEST_GAP_MS, async () => (await count()) > before + 20);
    }

    async function run(t: TestContext, section: string): Promise<void> {
      for (const command of commandsOf(PAGE, section)) {
        const before = await failures();
        await cluster.shell(command.replaceAll('REGISTRY', PLACEHOLDERS.REGISTRY));
        t.diagnostic(`${command}: ${(await failures()) - before} attempts failed`);
      }
      for (const { role } of pods) await answersAgain(role);
      await nobodyElse(t);
    }

    const reports = () =>
      Promise.all([...pollers].map(async ([role, poller]) => ({ role, report: await poller.report() })));
    const failures = async (): Promise<number> => sum((await reports()).map(({ report }) => report.failures.length));

    /** Every set of credentials that a pod was ever given is of the pod's own role. */
    async function nobodyElse(t: TestContext): Promise<void> {
      for (const { role, report } of await reports()) {
        const given = Object.entries(report.keys).map(([key, times]) => ({
          roleArn: cluster.world.sts.identify(key)?.roleArn,
          times,
        }));
        const wrong = given.filter(({ roleArn }) => roleArn !== `${cluster.world.roleBaseArn}${role}`);
        t.diagnostic(
          `${role}: ${report.asked} attempts, ${sum(given.map(({ times }) => times))} answered, ${report.failures.length} failed (${kindsOf(report.failures)}), ${wrong.length} wrong, longest gap ${report.longestGapMs} ms`,
        );
        assert.deepEqual(wrong, []);
        assert.ok(report.longestGapMs < LONGEST_GAP_MS);
      }
    }

    const imagesOf = async (role: string): Promise<string> =>
      cluster.shell(
        `kubectl -n kube-system get pods -l role=${role} -o jsonpath='{.items[*].spec.containers[0].image}'`,
      );

    it('from Kiam to ours', async (t) => {
      await run(t, 'Step by step');
      assert.equal(await imagesOf('agent'), 'kiam-agent:0.1.0 kiam-agent:0.1.0');
      const server = `${PLACEHOLDERS.REGISTRY}/kiam-server:0.1.0`;
      assert.equal(await imagesOf('server'), `${server} ${server}`);
      assert.equal(await imagesOf('guard'), '');
    });

    it('and back again', async (t) => {
      await run(t, 'Back again');
      assert.equal(await imagesOf('agent'), `${KIAM_IMAGE} ${KIAM_IMAGE}`);
      assert.equal(await imagesOf('server'), `${KIAM_IMAGE} ${KIAM_IMAGE}`);
    });
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function kindsOf(failures: readonly { readonly how: string }[]): string {
  const counts = new Map<string, number>();
  for (const { how } of failures) counts.set(how, (counts.get(how) ?? 0) + 1);
  return [...counts].map(([how, count]) => `${count} ${how}`).join(', ');
}
