import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

import { parseAllDocuments } from 'yaml';

import { runCommand } from '#sandbox/network/commands.ts';

import { LISTING } from '../support/cluster.ts';
import { AGENT_SERVES } from '../support/kernel-node.ts';
import { networkSkip } from '../support/network-world.ts';
import { baseImageArchive } from './base-image.ts';
import type { PodContainer, PodSecurity } from './container.ts';
import { createImageStore, type Image, type ImageStore, missingTools } from './image-store.ts';
import { KIAMS } from './kiams-manifests.ts';
import { type ContainerNode, createContainerNode } from './node-containers.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PARTS = ['agent', 'server'] as const;
const SERVER_SERVES = /"msg":"will serve on"/;
/** Two thirds of what they had on the whole of Debian: 268 MiB and 257 MiB. */
const MOST_BYTES = 170 * 2 ** 20;
const BASE = 'docker.io/library/node:24-trixie-slim';

const missing = missingTools() ?? ((await networkSkip()) || undefined);
if (missing !== undefined && process.env['KIAM_REQUIRE_IMAGES'] === '1') {
  throw new Error(`the images are required to be tested: ${missing}`);
}
const skip = missing === undefined ? false : `IMAGES NOT TESTED: ${missing}`;

/** A pod of the project's manifests, and its container that stays. */
function manifestOf(part: 'agent' | 'server'): { pod: PodSecurity; container: PodContainer; guard?: PodContainer } {
  const documents = parseAllDocuments(readFileSync(`${ROOT}deploy/${part}.yaml`, 'utf8'), { version: '1.1' });
  const { spec } = documents
    .map((document) => document.toJS())
    .find(({ kind }) => ['DaemonSet', 'Deployment'].includes(kind)).spec.template;
  return { pod: spec.securityContext, container: spec.containers[0], guard: spec.initContainers?.[0] };
}

describe('the images', { skip }, () => {
  let store: ImageStore;
  const images = {} as Record<'agent' | 'server', Image>;
  before(async (t) => {
    store = await createImageStore();
    const startedMs = performance.now();
    const took = (what: string): void =>
      (t as TestContext).diagnostic(`${what} after ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
    await store.importImage(BASE, await baseImageArchive());
    took('the base image is there');
    await Promise.all(
      PARTS.map(async (part) => {
        images[part] = await store.build(`Dockerfile.${part}`);
        took(`kiam-${part}: ${(images[part].sizeBytes / 2 ** 20).toFixed(0)} MiB`);
      }),
    );
  });
  after(() => store?.remove());

  for (const part of PARTS) {
    it(`${part}: holds the program at /kiam, its bill of materials and the licence, and nothing of the build`, () => {
      const { rootfs, config } = images[part];
      const bill = JSON.parse(readFileSync(join(rootfs, `usr/local/lib/kiam/kiam-${part}.sbom.json`), 'utf8'));
      assert.equal(bill.metadata.component.name, `kiam-${part}`);
      assert.ok(bill.components.length > 50);
      assert.match(readFileSync(join(rootfs, 'usr/share/doc/kiam/LICENSE'), 'utf8'), /Apache License/);
      assert.equal(existsSync(join(rootfs, 'build')), false);
      assert.deepEqual([config.Cmd, config.Entrypoint ?? [], config.User ?? ''], [['/kiam', '--help'], [], '']);
    });
  }

  for (const part of PARTS) {
    it(`${part}: has no program but Node, what starts it and what changes the kernel's rules: no shell, no package manager`, () => {
      const { rootfs, sizeBytes } = images[part];
      const programs = ['usr/bin', 'usr/sbin', 'usr/local/bin'].flatMap((folder) =>
        existsSync(join(rootfs, folder)) ? readdirSync(join(rootfs, folder)) : [],
      );
      assert.deepEqual(
        programs.filter((name) => !/^(?:ip6?tables|xtables)-?/.test(name)).toSorted(),
        part === 'agent' ? ['conntrack', 'env', 'node', 'test'] : ['env', 'node'],
      );
      assert.equal(programs.includes('iptables-legacy-restore'), part === 'agent');
      assert.ok(sizeBytes < MOST_BYTES, `${sizeBytes} bytes`);
    });

    it(`${part}: tells scanners which packages its files are from, and has their licences`, () => {
      const { rootfs } = images[part];
      const folder = join(rootfs, 'var/lib/dpkg/status.d');
      const packages = readdirSync(folder);
      for (const name of ['libc6', 'libstdc++6', ...(part === 'agent' ? ['iptables', 'conntrack'] : [])]) {
        assert.ok(packages.includes(name), `${name} of ${packages.join(', ')}`);
      }
      for (const name of packages) {
        assert.match(readFileSync(join(folder, name), 'utf8'), /^Version: \d/m);
        assert.ok(existsSync(join(rootfs, 'usr/share/doc', name, 'copyright')), name);
      }
      assert.match(readFileSync(join(rootfs, 'usr/lib/os-release'), 'utf8'), /^ID=debian$/m);
    });
  }

  describe('by the project’s manifests', () => {
    let place: ContainerNode;
    before(async () => {
      place = await createContainerNode(images, 'nft');
      place.node.world.namespace('team', '.*');
    });
    after(() => place?.remove());

    it('the images by the project’s manifests say their version', async () => {
      const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
      for (const part of PARTS) {
        const { container, pod } = manifestOf(part);
        const { child } = place.run({
          name: `version-${part}`,
          part,
          pod,
          container: { ...container, args: ['--version'] },
        });
        assert.deepEqual(await child.exited, { code: 0, signal: null }, child.lines.join('\n'));
        assert.deepEqual(child.lines, [`kiam ${version}`]);
      }
    });

    it('the images by the project’s manifests give a pod its role, as first processes with no more rights than the manifests say, and end in good order', async () => {
      const { node } = place;
      const agent = manifestOf('agent');
      const pod = await node.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
      const guard = place.run({
        name: 'guard',
        part: 'agent',
        pod: agent.pod,
        container: agent.guard ?? assert.fail(),
      });
      assert.equal((await guard.child.exited).code, 0, guard.child.lines.join('\n'));
      assert.equal(await ask(node.podExec(pod.address)), undefined, 'the guard alone leads nowhere');

      const server = place.run({ name: 'server', part: 'server', ...manifestOf('server') });
      await server.child.line(SERVER_SERVES);
      const running = place.run({
        name: 'agent',
        part: 'agent',
        pod: agent.pod,
        container: agent.container,
      });
      await running.child.line(AGENT_SERVES);
      await place.until('the pod has its role', async () => (await ask(node.podExec(pod.address))) === 'reader');
      assert.match((await ask(node.podExec(pod.address), 'reader')) ?? '', /"Code":"Success"/);
      assert.deepEqual(node.strangers(), []);
      assert.match(
        await node.onNode('iptables-nft', '-t', 'nat', '-S', 'PREROUTING'),
        /-j DNAT --to-destination \S+:8181/,
      );

      assert.deepEqual(await running.firstProcess(), {
        program: '/usr/local/bin/node',
        uid: 0,
        effective: ['NET_ADMIN', 'NET_RAW'],
        bounding: ['NET_ADMIN', 'NET_RAW'],
        noNewPrivileges: true,
        isFiltered: true,
      });
      assert.deepEqual(await server.firstProcess(), {
        program: '/usr/local/bin/node',
        uid: 65532,
        effective: [],
        bounding: [],
        noNewPrivileges: true,
        isFiltered: true,
      });
      for (const each of [running, server]) {
        assert.match(await each.exec('node', '-e', 'fs.writeFileSync("/new", "")'), /EROFS: read-only file system/);
      }

      const [started = ''] = /(?<=--started-file=)\S+/.exec(agent.container.args.join(' ')) ?? [];
      assert.equal(await running.exec('test', '-e', started), '', 'the startup probe');
      assert.match(await running.exec('conntrack', '--version'), /^conntrack v/);

      const [cert, key, ca] = ['--cert', '--key', '--ca'].map(
        (flag) => agent.container.args.find((arg) => arg.startsWith(`${flag}=`)) ?? assert.fail(flag),
      );
      const health = ['/kiam', 'health', '--server-address=kiam-server:9610', cert ?? '', key ?? '', ca ?? ''];
      assert.match(await running.exec(...health), /healthy: ok/);
      assert.match(await server.exec('/kiam', 'explain', 'team/reader'), /^team\/reader gets credentials: /);

      for (const each of [running, server]) {
        assert.deepEqual(await each.child.stop('SIGTERM'), { code: 0, signal: null }, each.child.lines.join('\n'));
      }
      assert.equal(await ask(node.podExec(pod.address)), undefined, 'a pod reaches nothing while its agent is away');
      assert.deepEqual(node.strangers(), []);
    });
  });

  it('the image that takes kube2iam’s place runs as its entry point says', async () => {
    const { config, rootfs, sizeBytes } = await store.build('Dockerfile.agent', 'kube2iam');
    assert.deepEqual(config.Entrypoint, ['kube2iam']);
    assert.ok(sizeBytes < MOST_BYTES, `${sizeBytes} bytes`);
    const outcome = await runCommand(['chroot', rootfs, ...config.Entrypoint, '--version']);
    assert.match(outcome.ok ? outcome.output : outcome.reason, /^kiam \d+\.\d+\.\d+$/m);
  });

  it('the images run by Kiam’s own manifests, as root with what a container usually has, on a node of iptables-legacy', async (t) => {
    const place = await createContainerNode(images, 'legacy');
    t.after(() => place.remove());
    const { node } = place;
    node.world.namespace('team', '.*');
    const pod = await node.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    const server = place.run({ name: 'server', part: 'server', container: KIAMS.server });
    const isHealthy = async (): Promise<boolean> => /healthy: ok/.test(await server.exec(...KIAMS.serverProbe));
    await place.until('the probe of Kiam’s manifest succeeds', isHealthy);
    assert.equal((await server.firstProcess()).uid, 0);
    const agent = place.run({ name: 'agent', part: 'agent', container: KIAMS.agent(node.network.hostInterface) });
    await agent.child.line(AGENT_SERVES);
    const isServed = async (): Promise<boolean> =>
      (await ask(node.podExec(pod.address), 'reader'))?.includes('"Code":"Success"') === true;
    await place.until('the pod has its credentials', isServed);
    assert.match(
      await node.onNode('iptables-legacy', '-t', 'nat', '-S', 'PREROUTING'),
      /-j DNAT --to-destination \S+:8181/,
    );
    assert.match(await server.exec('/kiam', 'explain', 'team/reader'), /^team\/reader gets credentials: /);
    for (const each of [agent, server]) assert.equal((await each.child.stop('SIGTERM')).code, 0);
  });
});

/** What a pod is told of its credentials, or nothing when it gets no answer. */
async function ask(podExec: readonly string[], role = ''): Promise<string | undefined> {
  const url = `http://169.254.169.254${LISTING}${role}`;
  const outcome = await runCommand([...podExec, 'curl', '-sSf', '--max-time', '3', url]);
  return outcome.ok ? outcome.output : undefined;
}
