import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { askHttp, type Cluster, LISTING, startCluster } from '../support/cluster.ts';
import { freePort } from '../support/free-port.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BUILD = join(ROOT, 'scripts/build.mjs');

/** Files of no package: ours, and the ones that the build makes to ask for node's own modules or in place of what it leaves out. */
const OWN = /^(?:src\/|builtin:|left-out:)/;

/** esbuild's account of a bundle: by path, how many bytes of each file are in it. */
interface Metafile {
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, { readonly inputs: Readonly<Record<string, { bytesInOutput: number }>> }>>;
}
interface Component {
  readonly purl: string;
  readonly licenses: readonly [{ readonly license?: { readonly id: string }; readonly expression?: string }];
}

describe('the bundles', () => {
  let folder: string;
  let cluster: Cluster | undefined;

  before(async () => {
    // Outside the project, so that nothing is found in its node_modules.
    folder = await mkdtemp(join(tmpdir(), 'kiam-bundles-'));
    await promisify(execFile)(process.execPath, [BUILD, folder]);
  });

  after(async () => {
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const metafile = async (name: string): Promise<Metafile> =>
    JSON.parse(await readFile(join(folder, `${name}.metafile.json`), 'utf8')) as Metafile;
  const inputs = async (name: string): Promise<string[]> => Object.keys((await metafile(name)).inputs);

  it('the agent’s bundle holds no AWS and no Kubernetes code, and none of the server’s', async () => {
    const foreign = /@aws-sdk|@smithy|@kubernetes|^src\/(aws|kubernetes|proxy|server|page|sandbox|doctor\/cluster)\//;
    assert.deepEqual(
      (await inputs('kiam-agent')).filter((path) => foreign.test(path)),
      [],
    );
  });

  it('the agent’s bundle imports nothing later that a request of a pod runs through, because V8 runs that more slowly', async () => {
    const text = await readFile(join(folder, 'kiam-agent.mjs'), 'utf8');
    // esbuild makes a function of each file that is imported later.
    assert.match(text, /"src\/doctor\/pod\.ts"\(\)/);
    assert.deepEqual(text.match(/"src\/agent\/(?:node\/|routes\/|container\/)?[\w-]+\.ts"\(\)/g), null);
  });

  it('the bundles are plain ASCII, of which Node holds the text in half the memory', async () => {
    for (const name of ['kiam-agent', 'kiam-server', 'kiam-kube2iam', 'kubectl-kiam']) {
      const text = await readFile(join(folder, `${name}.mjs`), 'utf8');
      // oxlint-disable-next-line no-control-regex -- ASCII begins with control characters
      assert.equal(/[^\0-\x7f].{0,40}/.exec(text)?.[0], undefined, name);
    }
  });

  it('the agent’s bundle explains nothing, and says where that is done', async () => {
    const explain = promisify(execFile)(process.execPath, [join(folder, 'kiam-agent.mjs'), 'explain', 'team/app']);
    await assert.rejects(explain, /this program has no explain, which comes in an image of its own/);
  });

  it('the server’s bundle holds nothing of the agent but its flags, and nothing of the sandbox', async () => {
    const foreign = /^src\/(sandbox|doctor\/node|agent\/(?!interception\/host-))|node_modules\/fastify\//;
    assert.deepEqual(
      (await inputs('kiam-server')).filter((path) => foreign.test(path)),
      [],
    );
  });

  it('that of kube2iam’s place takes its flags without a command, and holds no server for agents', async () => {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [join(folder, 'kiam-kube2iam.mjs'), '--help']);
    assert.match(stdout, /^kiam kube2iam \[flags\]\n[^]*--namespace-restriction-format/);
    await assert.rejects(run(process.execPath, [join(folder, 'kiam-kube2iam.mjs'), '--cert=x']), /unknown flag --cert/);
    const foreign =
      /^src\/(sandbox|doctor|pki|admission|rpc\/(server|client|tls-listener|certificate-watcher)\.ts|bin\/(agent|server)\.ts)/;
    const bundled = (await metafile('kiam-kube2iam')).outputs;
    const paths = Object.values(bundled).flatMap((output) =>
      Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
    );
    assert.deepEqual(
      paths.filter((path) => foreign.test(path)),
      [],
    );
  });

  it('the plugin of kubectl runs without node_modules, and holds neither daemon, no AWS and no Kubernetes code', async () => {
    const foreign =
      /@aws-sdk|@smithy|@kubernetes|@grpc|^src\/(aws|kubernetes|rpc|bin\/(agent|server)\.ts|doctor\/(node|cluster))\//;
    const { outputs } = await metafile('kubectl-kiam');
    const paths = Object.values(outputs).flatMap((output) =>
      Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
    );
    assert.deepEqual(
      paths.filter((path) => foreign.test(path)),
      [],
    );
    const { stdout } = await promisify(execFile)(join(folder, 'kubectl-kiam.mjs'), ['status', '--help']);
    assert.match(stdout, /^kiam status \[flags\]/);
  });

  for (const name of ['kiam-agent', 'kiam-server', 'kiam-kube2iam', 'kubectl-kiam']) {
    it(`${name}: the bill of materials names each package that has code in the bundle, and no other`, async () => {
      const bill = JSON.parse(await readFile(join(folder, `${name}.sbom.json`), 'utf8')) as {
        metadata: { component: { name: string } };
        components: readonly Component[];
      };
      const { outputs } = await metafile(name);
      const bundled = Object.values(outputs).flatMap((output) =>
        Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) =>
          bytesInOutput > 0 && !OWN.test(path) ? [packageOf(path)] : [],
        ),
      );
      assert.equal(bill.metadata.component.name, name);
      assert.deepEqual(
        bill.components.map(({ purl }) => decodeURIComponent(purl)),
        [...new Set(bundled.map((found) => `pkg:npm/${found.name}@${found.version}`))].sort(),
      );
      for (const { purl, licenses } of bill.components) {
        const found = bundled.find((one) => decodeURIComponent(purl) === `pkg:npm/${one.name}@${one.version}`);
        assert.equal(licenses[0].license?.id ?? licenses[0].expression, found?.license, purl);
      }
    });

    it(`${name}: holds no code of a package that is compiled for a processor`, async () => {
      const paths = await inputs(name);
      assert.deepEqual(
        paths.filter((path) => /\.(node|wasm)$/.test(path)),
        [],
      );
      const compiled = paths.filter((path) => !OWN.test(path) && packageOf(path).isCompiled);
      assert.deepEqual(compiled, []);
    });
  }

  it('the bundles start with the options of Node that they need', async () => {
    const shebang = async (name: string) => (await readFile(join(folder, name), 'utf8')).split('\n', 1)[0];
    const start = '#!/usr/bin/env -S MALLOC_MMAP_THRESHOLD_=16384 node';
    const common = '--disable-sigusr1 --max-semi-space-size=1';
    for (const name of ['kiam-agent.mjs', 'kubectl-kiam.mjs']) assert.equal(await shebang(name), `${start} ${common}`);
    for (const name of ['kiam-server.mjs', 'kiam-kube2iam.mjs']) {
      assert.equal(await shebang(name), `${start} --use-system-ca ${common}`);
    }
  });

  it('the bundles walk the whole way without node_modules', async () => {
    const run = (name: string): readonly string[] => [
      process.execPath,
      '--use-system-ca',
      '--disable-sigusr1',
      join(folder, name),
    ];
    cluster = await startCluster({}, { server: run('kiam-server.mjs'), agent: run('kiam-agent.mjs') });
    cluster.world.namespace('team', '.*');
    const socket = join(cluster.world.folder, 'admin.sock');
    const statusPort = await freePort();
    const server = await cluster.startServer({ flags: [`--admin-socket=${socket}`, `--status-port=${statusPort}`] });
    const agent = await cluster.startAgent(server.port);
    const pod = await cluster.world.pod({ namespace: 'team', name: 'reader', role: 'reader' });
    const answer = await askHttp({ port: agent.port, from: pod.address, path: `${LISTING}reader` });
    assert.equal(answer.status, 200, answer.body);
    for (const program of ['kiam-agent.mjs', 'kiam-server.mjs']) {
      const { stderr } = await promisify(execFile)(
        process.execPath,
        [
          join(folder, program),
          'health',
          `--server-address=localhost:${server.port}`,
          '--timeout=30s',
          '--gateway-timeout-creation=30s',
          ...cluster.tlsFlags('agent'),
        ],
        { env: cluster.world.environment.clean },
      );
      assert.match(stderr, /healthy: ok/);
    }
    const explain = [join(folder, 'kiam-server.mjs'), 'explain', 'team/reader', `--admin-socket=${socket}`];
    const { stdout } = await promisify(execFile)(process.execPath, explain, { env: cluster.world.environment.clean });
    assert.match(stdout, /^team\/reader gets credentials: /);
    for (const [path, text] of [
      ['/', '<title>Kiam</title>'],
      ['/page.js', '/api/overview'],
      ['/api/overview', 'isWhole'],
    ] as const) {
      const { status, body } = await askHttp({ port: statusPort, path });
      assert.ok(status === 200 && body.includes(text), path);
    }
  });
});

/** The package that a file belongs to: the nearest description above it that has a name and a version. */
function packageOf(path: string): { name: string; version: string; license: string; isCompiled: boolean } {
  for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
    const file = join(ROOT, folder, 'package.json');
    if (!existsSync(file)) continue;
    const { name, version, license } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    const isCompiled = ['binding.gyp', 'prebuilds'].some((part) => existsSync(join(ROOT, folder, part)));
    if (name !== undefined && version !== undefined) return { name, version, license: license ?? '', isCompiled };
  }
  throw new Error(`${path} belongs to no package`);
}
