import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';

import { runCommand } from '#sandbox/network/commands.ts';
import type { WorldPod } from '#sandbox/world.ts';

import { askHttp, type Cluster, type Daemon, FROM_SOURCES, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { networkSkip } from '../support/network-world.ts';

const skip = await networkSkip();
const NAME = 'kiam-servers.test';
const ADDRESSES = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
/** As many as a roll-out of fifty replicas, when there is time for it. */
const RESTARTS = process.env['KIAM_SOAK'] === '1' ? 50 : 6;

/** A name with three addresses needs a resolver that knows it: a hosts file of the agent's own. */
async function agentBeside(hosts: string): Promise<readonly string[]> {
  await writeFile(hosts, ['127.0.0.1 localhost', ...ADDRESSES.map((address) => `${address} ${NAME}`), ''].join('\n'));
  return ['unshare', '-m', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, ...FROM_SOURCES.agent];
}

for (const [what, flags] of [
  ['from its memory', []],
  ['by asking for each request', ['--node-store=false']],
] as const) {
  describe(`three servers behind one name, an agent that answers ${what}`, { skip }, () => {
    let cluster: Cluster;
    let port: number;
    let agent: Daemon;
    let folder: string;
    const servers = new Map<string, Daemon>();
    const pods: WorldPod[] = [];

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kiam-hosts-'));
      const agentProgram = await agentBeside(join(folder, 'hosts'));
      cluster = await startCluster({ serverNames: [NAME] }, { ...FROM_SOURCES, agent: agentProgram });
      cluster.world.namespace('team', '.*');
      for (let index = 0; index < 8; index += 1) {
        pods.push(await cluster.world.pod({ namespace: 'team', name: `pod-${index}`, role: `role-${index}` }));
      }
      port = await freePort();
      await Promise.all(ADDRESSES.map(startServer));
      agent = await cluster.startAgent(port, { flags: [...flags, `--server-address=${NAME}:${port}`] });
      await Promise.all(pods.map((pod) => ask(pod)));
    });

    after(async () => {
      await cluster.close();
      await rm(folder, { recursive: true, force: true });
    });

    async function startServer(address: string): Promise<void> {
      servers.set(address, await cluster.startServer({ flags: [`--bind=${address}:${port}`] }));
    }

    const ask = ({ address, name }: WorldPod) =>
      askHttp({ port: agent.port, from: address, path: `${LISTING}${name.replace('pod', 'role')}` });

    /** Every pod asks all the time, some ten times a second, while `trouble` continues. */
    async function underLoad(t: TestContext, trouble: () => Promise<void>): Promise<void> {
      const stop = new AbortController();
      t.after(() => stop.abort());
      const failures: string[] = [];
      const tookMs: number[] = [];
      const asking = pods.map(async (pod) => {
        while (!stop.signal.aborted) {
          const answer = await ask(pod);
          tookMs.push(answer.tookMs);
          if (answer.status !== 200) failures.push(`${answer.status} ${answer.body.trim()}`);
          await new Promise((resolve) => {
            setTimeout(resolve, 80);
          });
        }
      });
      await trouble();
      stop.abort();
      await Promise.all(asking);
      tookMs.sort((a, b) => a - b);
      t.diagnostic(
        `${tookMs.length} requests, ${failures.length} failed; p99 ${Math.round(tookMs[Math.floor(tookMs.length * 0.99)] ?? 0)} ms, max ${Math.round(tookMs.at(-1) ?? 0)} ms`,
      );
      assert.deepEqual(failures, []);
    }

    const pause = (ms: number): Promise<void> =>
      new Promise((resolve) => {
        setTimeout(resolve, ms);
      });

    it('one of three servers is killed, and no request fails', (t) =>
      underLoad(t, async () => {
        await pause(300);
        await servers.get('127.0.0.2')?.child.stop('SIGKILL');
        await pause(2500);
        await startServer('127.0.0.2');
        await pause(500);
      }));

    it('one of three servers hangs, and no request fails', (t) =>
      underLoad(t, async () => {
        const hung = servers.get('127.0.0.3')?.child.process;
        hung?.kill('SIGSTOP');
        await pause(4000);
        hung?.kill('SIGCONT');
        await pause(500);
      }));

    it('the packets of one of three servers are dropped for 20 seconds, and no request fails', (t) =>
      underLoad(t, async () => {
        const restore = await dropPackets('127.0.0.4', port);
        t.after(restore);
        await pause(20_000);
        await restore();
        await pause(500);
      }));

    it(`three servers are replaced one after another, ${RESTARTS} times, and no request fails`, (t) =>
      underLoad(t, async () => {
        for (let restart = 0; restart < RESTARTS; restart += 1) {
          const address = ADDRESSES[restart % ADDRESSES.length] ?? '';
          const exit = await servers.get(address)?.child.stop('SIGTERM');
          assert.equal(exit?.code, 0);
          await startServer(address);
        }
      }));
  });
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.2', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Drops what goes to an address and port of this machine and what comes from it; the returned function ends that. */
async function dropPackets(address: string, port: number): Promise<() => Promise<void>> {
  const ways = [
    ['-d', address, '--dport', String(port)],
    ['-s', address, '--sport', String(port)],
  ];
  const change = (action: '-I' | '-D', way: readonly string[]) =>
    runCommand(['iptables', '-w', '5', action, 'INPUT', '-i', 'lo', '-p', 'tcp', ...way, '-j', 'DROP']);
  for (const way of ways) {
    const outcome = await change('-I', way);
    if (!outcome.ok) throw new Error(outcome.reason);
  }
  return async () => {
    for (const way of ways) {
      // On a loaded machine the command may run out of time: what counts is that the rule is gone.
      await eventually('the rule is gone', 60_000, async () => {
        const rules = await runCommand(['iptables', '-w', '5', '-S', 'INPUT']);
        if (rules.ok && !rules.output.includes(way.slice(2).join(' '))) return true;
        await change('-D', way);
        return false;
      });
    }
  };
}
