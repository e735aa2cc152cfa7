import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { kiamVersion } from '#bin/version.ts';
import { ALLOWED_ROLES_ANNOTATION } from '#domain/allowed-roles.ts';

import { type Bundle, type Bundles, buildBundles } from '../bench/bundles.ts';
import { AskingPods } from './asking-pods.ts';
import { goPrograms } from './helm.ts';
import { commandsOf } from './page-commands.ts';
import { startTestCluster, type TestCluster } from './sandbox-cluster.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = await readFile(`${ROOT}docs/migrating-from-kube2iam.md`, 'utf8');
const KUBE2IAM_IMAGE = 'jtblin/kube2iam:0.12.0';
const REGISTRY = 'registry.example';
const NODES = ['node-1', 'node-2'] as const;
const LIMIT_MS = 900_000;

/** Runs the commands of docs/migrating-from-kube2iam.md, there and back; `kube2iam` makes the program in place of its image. */
export function describeKube2iamMigration(
  title: string,
  kube2iam: (bundles: Bundles) => readonly string[],
  skip: string | false,
): void {
  describe(title, { skip, timeout: LIMIT_MS }, () => {
    let folder: string;
    let cluster: TestCluster;
    let pods: AskingPods;
    let kiam: string;

    before(async () => {
      const bundles = buildBundles();
      const image = ({ node, file }: Bundle): readonly string[] => [...node, file];
      kiam = `"${process.execPath}" ${bundles.server.file}`;
      folder = await mkdtemp(join(tmpdir(), 'kiam-checkout-'));
      for (const part of ['deploy', 'test']) await symlink(join(ROOT, part), join(folder, part));
      cluster = await startTestCluster({
        workingFolder: folder,
        images: {
          [KUBE2IAM_IMAGE]: kube2iam(bundles),
          [`${REGISTRY}/kiam-kube2iam:${kiamVersion()}`]: image(bundles.kube2iam),
          // The guard's manifest names it so.
          [`kiam-agent:${kiamVersion()}`]: image(bundles.agent),
          [`${REGISTRY}/kiam-agent:${kiamVersion()}`]: image(bundles.agent),
          [`${REGISTRY}/kiam-server:${kiamVersion()}`]: image(bundles.server),
        },
      });
      const annotations = { [ALLOWED_ROLES_ANNOTATION]: '["team-a/*"]' };
      cluster.world.api.createNamespace({ metadata: { name: 'team-a', annotations } });
      await cluster.shell('kubectl apply -f test/support/kube2iam-install.yaml');
      pods = new AskingPods(cluster);
      for (const name of ['one', 'two']) await pods.start('team-a', name, `team-a/${name}`);
    });
    after(async () => {
      await pods?.stop();
      await cluster?.close();
      await rm(folder, { recursive: true, force: true });
    });

    const commands = (section: string, node = ''): string[] =>
      commandsOf(PAGE, section).map((command) =>
        `PATH="$PATH:${goPrograms()}" ${command}`
          .replaceAll('REGISTRY', REGISTRY)
          .replaceAll('NODE', node)
          .replace(/(?<=" )kiam /, `${kiam} `),
      );
    /** What answers on the nodes, in their order. */
    const answering = async (): Promise<string[]> => {
      const line = `kubectl -n kube-system get pods -o jsonpath='{range .items[*]}{.spec.nodeName} {.spec.containers[0].image}{"\\n"}{end}'`;
      const text = await cluster.shell(line);
      const lines = text.split('\n').filter((one) => /kube2iam|kiam-agent/.test(one));
      return lines.toSorted();
    };
    const everywhere = (image: string): string[] => NODES.map((node) => `${node} ${image}`);

    it('from kube2iam to its image of ours', async (t) => {
      await pods.during(t, commands('Change the image'));
      assert.deepEqual(await answering(), everywhere(`${REGISTRY}/kiam-kube2iam:${kiamVersion()}`));
    });

    it('and back', async (t) => {
      await pods.during(t, commands('Back to kube2iam'));
      assert.deepEqual(await answering(), everywhere(KUBE2IAM_IMAGE));
    });

    it('from kube2iam to agent and server, one node after the other', async (t) => {
      await pods.during(t, commands('From there to agent and server'));
      assert.deepEqual(await answering(), everywhere(KUBE2IAM_IMAGE));
      for (const node of NODES) await pods.during(t, commands('Node by node', node));
      assert.deepEqual(await answering(), everywhere(`${REGISTRY}/kiam-agent:${kiamVersion()}`));
    });

    it('and back, one node after the other', async (t) => {
      for (const node of NODES) await pods.during(t, commands('Back, node by node', node));
      assert.deepEqual(await answering(), everywhere(KUBE2IAM_IMAGE));
    });
  });
}
