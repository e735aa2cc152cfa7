import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { kiamVersion } from '#bin/version.ts';

import { type Bundles, buildBundles } from '../bench/bundles.ts';
import { AskingPods } from './asking-pods.ts';
import { commandsOf } from './page-commands.ts';
import { startTestCluster, type TestCluster } from './sandbox-cluster.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = await readFile(`${ROOT}docs/migrating-from-kiam.md`, 'utf8');
const KIAM_IMAGE = 'quay.io/uswitch/kiam:v4.2';
/** What a reader puts in. */
const PLACEHOLDERS = { REGISTRY: 'registry.example' } as const;
/** Kiam's own probes and roll-outs take their time, and more where many tests share the machine. */
const LIMIT_MS = 900_000;

/** Runs the commands of docs/migrating-from-kiam.md, there and back; `kiam` makes the program in place of Kiam's image. */
export function describeMigration(
  title: string,
  kiam: (bundles: Bundles) => readonly string[],
  skip: string | false,
): void {
  describe(title, { skip, timeout: LIMIT_MS }, () => {
    let cluster: TestCluster;
    let pods: AskingPods;

    before(async () => {
      const bundles = buildBundles();
      const { agent, server } = bundles;
      cluster = await startTestCluster({
        workingFolder: ROOT,
        images: {
          [KIAM_IMAGE]: kiam(bundles),
          [`kiam-agent:${kiamVersion()}`]: [...agent.node, agent.file],
          [`${PLACEHOLDERS.REGISTRY}/kiam-server:${kiamVersion()}`]: [...server.node, server.file],
        },
      });
      await cluster.shell(`"${process.execPath}" ${server.file} pki | kubectl apply -f -`);
      await cluster.shell('kubectl apply -f test/support/kiam-install.yaml');
      await cluster.shell('kubectl -n kube-system rollout status daemonset/kiam-server');
      cluster.world.namespace('team-a', '.*');
      pods = new AskingPods(cluster);
      for (const name of ['one', 'two']) await pods.start('team-a', name, `team-a/${name}`);
    });
    after(async () => {
      await pods.stop();
      await cluster.close();
    });

    const commands = (section: string): string[] =>
      commandsOf(PAGE, section).map((command) => command.replaceAll('REGISTRY', PLACEHOLDERS.REGISTRY));

    const imagesOf = async (role: string): Promise<string> =>
      cluster.shell(
        `kubectl -n kube-system get pods -l role=${role} -o jsonpath='{.items[*].spec.containers[0].image}'`,
      );

    it('from Kiam to ours', async (t) => {
      await pods.during(t, commands('Step by step'));
      assert.equal(await imagesOf('agent'), `kiam-agent:${kiamVersion()} kiam-agent:${kiamVersion()}`);
      const server = `${PLACEHOLDERS.REGISTRY}/kiam-server:${kiamVersion()}`;
      assert.equal(await imagesOf('server'), `${server} ${server}`);
      assert.equal(await imagesOf('guard'), '');
    });

    it('and back again', async (t) => {
      await pods.during(t, commands('Back again'));
      assert.equal(await imagesOf('agent'), `${KIAM_IMAGE} ${KIAM_IMAGE}`);
      assert.equal(await imagesOf('server'), `${KIAM_IMAGE} ${KIAM_IMAGE}`);
    });
  });
}
