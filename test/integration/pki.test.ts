import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';

import { readPkiFolder } from '#pki/folder.ts';
import type { CertificateWatcher } from '#rpc/certificate-watcher.ts';
import { KiamClient } from '#rpc/client.ts';
import { loadContract } from '#rpc/contract.ts';
import { startChild } from '#sandbox/child.ts';
import { createGrpcMetrics, createTlsMetrics } from '#telemetry/grpc-metrics.ts';
import { createRegistry } from '#telemetry/registry.ts';

import { createSecretFolder, type SecretFolder, watchFolder } from '../support/certificates.ts';
import { askHttp, type Cluster, type Daemon, FROM_SOURCES, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const never = new AbortController().signal;

it('The daemons run on what kiam pki made, and no call fails while its CA is rotated under load', async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.close());
  const folder = await mkdtemp(join(tmpdir(), 'kiam-pki-'));
  t.after(() => rm(folder, { recursive: true }));
  await runPki(cluster, folder);
  const secrets = { server: await secretOf(t, folder, 'server'), agent: await secretOf(t, folder, 'agent') };

  cluster.world.namespace('shop', '.*');
  const pod = await cluster.world.pod({ namespace: 'shop', name: 'till', role: 'reader' });
  const server = await cluster.startServer({ flags: tlsFlags(secrets.server) });
  const agent = await cluster.startAgent(server.port, { flags: tlsFlags(secrets.agent) });
  const answer = await askHttp({ port: agent.port, path: `${LISTING}reader`, from: pod.address });
  assert.equal(answer.status, 200, answer.body);

  const { client, watcher } = await clientOn(t, secrets.agent, server.port);
  const running = load(client);
  t.after(() => running.stop());
  for (const [flag, ...order] of STEPS) {
    await runPki(cluster, folder, flag);
    for (const side of order) {
      const publications = published(server);
      await secrets[side].put(await secretContent(folder, side));
      const caPem = (await secretContent(folder, side)).caPem;
      if (side === 'server') {
        await eventually('the server has read its Secret', 10_000, () => published(server) > publications);
      } else {
        await watcher.refresh();
        assert.equal(watcher.current?.caPem.toString(), caPem);
      }
      // New connections at this very state, in both directions of trust.
      assert.equal(await callsOnce(t, secrets.agent, server.port), '', `${flag}, ${side} changed`);
      const before = running.calls();
      await eventually('calls go on', 10_000, () => running.calls() > before + 50);
    }
  }
  const { calls, failures } = await running.stop();
  t.diagnostic(`${calls} calls, ${failures.length} failed`);
  assert.deepEqual(failures, []);
  const state = await readPkiFolder(folder);
  assert.equal(state.authoritiesPem, state.authority?.certificatePem);
});

type Side = 'server' | 'agent';

/** The steps, and in which order the two Secrets reach their pods: each order occurs with a change of the pairs. */
const STEPS: readonly (readonly [string, Side, Side])[] = [
  ['--rotate-ca=begin', 'agent', 'server'],
  ['--rotate-ca=finish', 'server', 'agent'],
  ['--renew', 'agent', 'server'],
  ['--rotate-ca=begin', 'server', 'agent'],
  ['--rotate-ca=finish', 'agent', 'server'],
  ['--renew', 'server', 'agent'],
];

async function runPki({ world }: Cluster, folder: string, ...flags: readonly string[]): Promise<void> {
  const argv = [...FROM_SOURCES.server, 'pki', '--no-manifests', `--out=${folder}`, ...flags];
  const child = startChild({ name: 'pki', argv, environment: world.environment.clean });
  assert.equal((await child.exited).code, 0, child.lines.join('\n'));
  assert.doesNotMatch(child.lines.join('\n'), /PRIVATE KEY/);
}

async function secretContent(folder: string, side: Side): Promise<Parameters<SecretFolder['put']>[0]> {
  const state = await readPkiFolder(folder);
  const pair = state[side];
  assert.ok(pair !== undefined && state.authoritiesPem !== undefined);
  return { ...pair, caPem: state.authoritiesPem };
}

async function secretOf(t: TestContext, folder: string, side: Side): Promise<SecretFolder> {
  const secret = await createSecretFolder(await secretContent(folder, side));
  t.after(() => secret.remove());
  return secret;
}

function tlsFlags({ files }: SecretFolder): readonly string[] {
  return [`--cert=${files.certPath}`, `--key=${files.keyPath}`, `--ca=${files.caPath}`];
}

/** How many sets of certificates a daemon has put into use. */
function published(daemon: Daemon): number {
  return daemon.log().filter((line) => line['msg'] === 'TLS certificate in use').length;
}

async function clientOn(
  t: TestContext,
  secret: SecretFolder,
  port: number,
): Promise<{ readonly client: KiamClient; readonly watcher: CertificateWatcher }> {
  const registry = createRegistry({ processMetrics: false });
  const watcher = await watchFolder(secret, createTlsMetrics(registry, 'client'));
  const client = new KiamClient({
    contract: loadContract(),
    serverAddress: `localhost:${port}`,
    certificates: watcher,
    keepalive: { timeMs: 10_000, timeoutMs: 2000, permitWithoutStream: false },
    counters: createGrpcMetrics(registry, 'client'),
  });
  t.after(() => client.close());
  return { client, watcher };
}

/** One call over a connection made for it; what went wrong, or `''`. */
async function callsOnce(t: TestContext, secret: SecretFolder, port: number): Promise<string> {
  const { client } = await clientOn(t, secret, port);
  const answer = await client.call('GetHealth', {}, { timeoutMs: 5000, signal: never });
  client.close();
  return answer.ok ? '' : answer.details;
}

/** Four callers that call all the time. */
function load(client: KiamClient): {
  calls(): number;
  stop(): Promise<{ readonly calls: number; readonly failures: readonly string[] }>;
} {
  const stop = new AbortController();
  const failures: string[] = [];
  let calls = 0;
  const callers = Array.from({ length: 4 }, async () => {
    while (!stop.signal.aborted) {
      const answer = await client.call('GetHealth', {}, { timeoutMs: 5000, signal: never });
      calls += 1;
      if (!answer.ok) failures.push(answer.details);
    }
  });
  return {
    calls: () => calls,
    stop: async () => {
      stop.abort();
      await Promise.all(callers);
      return { calls, failures };
    },
  };
}
