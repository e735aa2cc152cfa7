import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

import { kiamVersion } from '#bin/version.ts';
import { textAt } from '#sandbox/json.ts';

import { type Bundle, buildBundles } from '../bench/bundles.ts';
import { startCredentialsPoller } from '../support/credentials-poller.ts';
import { eventually } from '../support/eventually.ts';
import { networkSkip } from '../support/network-world.ts';
import { commandsOf } from '../support/page-commands.ts';
import { startTestCluster, type TestCluster } from '../support/sandbox-cluster.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const commands = commandsOf(await readFile(`${ROOT}README.md`, 'utf8'), 'Install it in a cluster');
const OWN = 'arn:aws:iam::123456789012:role/team-a/reporter';
/** Far more than it takes, also where many tests share the machine. */
const LIMIT_MS = 120_000;

describe(
  'an empty cluster and the commands of the README',
  { skip: await networkSkip(), timeout: 3 * LIMIT_MS },
  () => {
    let folder: string;
    let cluster: TestCluster;

    before(async () => {
      const bundles = buildBundles();
      folder = await mkdtemp(join(tmpdir(), 'kiam-checkout-'));
      // What is made beside them stays out of the project.
      for (const part of ['deploy', 'dist']) await symlink(join(ROOT, part), join(folder, part));
      const image = ({ node, file }: Bundle): readonly string[] => [...node, file];
      const images = {
        [`kiam-agent:${kiamVersion()}`]: image(bundles.agent),
        [`kiam-server:${kiamVersion()}`]: image(bundles.server),
      };
      cluster = await startTestCluster({ workingFolder: folder, images });
    });
    after(async () => {
      await cluster.close();
      await rm(folder, { recursive: true, force: true });
    });

    it('the README has three commands for an empty cluster', () => assert.equal(commands.length, 3));

    it('the commands of the README give the pod of the example the credentials of its role, and from then on no others', async (t) => {
      const startedMs = performance.now();
      for (const command of commands) await cluster.shell(command);
      const appliedMs = performance.now();
      const pod = await cluster.world.api.waitForPod({
        namespace: 'team-a',
        name: 'reporter',
        signal: AbortSignal.timeout(LIMIT_MS),
        condition: (seen) => textAt(seen, 'status', 'podIP') !== '',
      });
      const exec = cluster.podExec(textAt(pod, 'status', 'podIP'));
      // Before the first agent is on the node its pods reach the node's role, as they did before.
      const tookMs = await asksUntil(t, exec, (roles) => roles.includes(OWN));
      t.diagnostic(
        `commands ${Math.round(appliedMs - startedMs)} ms, then ${Math.round(tookMs)} ms to the first credentials`,
      );
      await asksUntil(t, exec, (roles, answers) => {
        assert.ok(roles.every((role) => role === OWN));
        return answers > 20;
      });
    });

    /** Asks as the pod until the roles that it was given credentials of are as awaited. */
    async function asksUntil(
      t: TestContext,
      exec: readonly string[],
      isEnough: (roles: readonly string[], answers: number) => boolean,
    ): Promise<number> {
      const poller = startCredentialsPoller(exec);
      t.after(() => poller.stop());
      return eventually('the pod has the credentials of its role', LIMIT_MS, async () => {
        const { keys } = await poller.report();
        const roles = Object.keys(keys).map((key) => cluster.world.sts.identify(key)?.roleArn ?? 'nobody');
        return isEnough(
          roles,
          Object.values(keys).reduce((total, count) => total + count, 0),
        );
      });
    }

    it('the commands of the README leave both daemons rolled out', async () => {
      for (const name of ['kiam-server', 'kiam-agent']) {
        const said = await cluster.shell(`kubectl -n kube-system rollout status daemonset/${name} --timeout=120s`);
        assert.match(said, /successfully rolled out/);
      }
    });
  },
);
