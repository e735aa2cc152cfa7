import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { createCommandRunner } from '#agent/interception/command.ts';
import { applyGuardOnce } from '#agent/interception/guard-once.ts';
import { ANY_INTERFACE } from '#agent/interception/host-interface.ts';
import { systemClock } from '#runtime/clock.ts';
import { startChild } from '#sandbox/child.ts';
import type { Network } from '#sandbox/network/network.ts';

import { createNetworkWorld, networkSkip } from '../support/network-world.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const PROGRAM = fileURLToPath(new URL('../support/raw_packets.py', import.meta.url));
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const run = promisify(execFile);
const python = await findPython();
const skip =
  (await networkSkip()) ||
  (python === '' ? 'RAW PACKETS NOT TESTED: they are made by python3, which is missing' : false);

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

describe('packets that no socket would send', { skip, concurrency: 2 }, () => {
  for (const topology of ['routed', 'bridge'] as const) {
    test(`packets that no socket would send do not pass the guard, nor what is left of it without filter (${topology})`, async (t) => {
      const world = await createNetworkWorld(topology);
      t.after(() => world.remove());
      const { network, onNode } = world;
      const open = await attack(network);
      assert.ok(open.length > 10, `without a guard they arrive: ${open.length}`);
      const outcome = await applyGuardOnce({
        guardInterface: ANY_INTERFACE,
        clock: systemClock,
        logger: recordingLogger().logger,
        run: createCommandRunner({ clock: systemClock, prefix: network.node.exec }),
        signal: new AbortController().signal,
      });
      assert.ok(outcome.ok);
      assert.deepEqual(await attack(network), [], 'the guard');
      const rule = ['-d', '169.254.169.254', '-i', network.hostInterface, '-p', 'tcp', '--dport', '80'];
      const target = ['-j', 'DNAT', '--to-destination', `${network.node.address}:3100`];
      await onNode('iptables', '-t', 'nat', '-A', 'PREROUTING', ...rule, ...target);
      assert.deepEqual(await attack(network), [], 'the guard and a redirect');
      await onNode('iptables', '-F');
      assert.deepEqual(await attack(network), [], 'the backstop and a redirect');
      await onNode('iptables', '-t', 'nat', '-F');
      assert.deepEqual(await attack(network), [], 'the backstop alone');
      t.diagnostic(`${topology}: ${open.length} packets arrived without the guard, none with it`);
    });
  }
});

/** Sends them all from the pod. Resolves with those that reached the metadata service. */
async function attack(network: Network): Promise<readonly string[]> {
  const watcher = startChild({
    name: 'watcher',
    argv: [...network.metadata.exec, python, PROGRAM, 'watch'],
    environment: { PATH },
  });
  await watcher.line(/^ready$/);
  const pod = network.node.namespace.replace(/node$/, 'pod1');
  await run('ip', ['netns', 'exec', pod, python, PROGRAM, 'send'], { env: { PATH } });
  const limit = setTimeout(() => watcher.process.kill('SIGKILL'), 10_000);
  const { code } = await watcher.exited;
  clearTimeout(limit);
  assert.equal(code, 0, 'the last packet arrived');
  return watcher.lines.filter((line) => line !== 'ready');
}

/** The interpreter itself: a version manager's wrapper would not work inside the namespaces. */
async function findPython(): Promise<string> {
  try {
    return (await run('python3', ['-c', 'import sys; print(sys.executable)'])).stdout.trim();
  } catch {
    return '';
  }
}
