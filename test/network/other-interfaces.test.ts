import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { createCommandRunner } from '#agent/interception/command.ts';
import { applyGuardOnce } from '#agent/interception/guard-once.ts';
import { ANY_INTERFACE, type HostInterface } from '#agent/interception/host-interface.ts';
import { systemClock } from '#runtime/clock.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import { createVxlanAttacker, openNodePort } from '../support/other-ways.ts';

import { startProbe } from '../support/network-probe.ts';
import { createNetworkWorld, networkSkip, type NetworkWorld } from '../support/network-world.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const skip = await networkSkip();

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

type Attack = (world: NetworkWorld) => Promise<readonly [ipv4: string, ipv6: string]>;

/** Packets to the metadata service that do not come in by the pods' interface. */
const ATTACKS: readonly [name: string, prepare: (world: NetworkWorld) => Promise<Attack>][] = [
  [
    'that its own node unpacks from a VXLAN tunnel',
    async ({ network }) => {
      await createVxlanAttacker(network);
      return async ({ pod }) => [body(await pod.get(V4, 80)), body(await pod.get(V6, 80))];
    },
  ],
  [
    "that a Service's node port sends on to the metadata service",
    async ({ network }) => {
      const ports = await openNodePort(network);
      return async () => {
        const outside = await startProbe(network.metadata.exec);
        try {
          const answers = await Promise.all(
            [network.node.address, network.node.address6].map((address) => outside.get(address, ports)),
          );
          return [body(answers[0]), body(answers[1])];
        } finally {
          await outside.stop();
        }
      };
    },
  ],
];

const V4 = '169.254.169.254';
const V6 = 'fd00:ec2::254';

describe('packets for the metadata service that come in by another interface than the pods', { skip }, () => {
  for (const [name, prepare] of ATTACKS) {
    test(`packets for the metadata service ${name} do not pass the guard, nor what is left of it without filter`, async (t) => {
      const world = await createNetworkWorld('bridge');
      t.after(() => world.remove());
      const attack = await prepare(world);
      const reached = async (): Promise<string[]> =>
        (await attack(world)).map((answer) => (answer.startsWith('metadata') ? 'reached' : answer));

      assert.deepEqual(await reached(), ['reached', 'reached'], 'without a guard they arrive');
      await guard(world, { inverted: false, name: world.network.hostInterface });
      assert.deepEqual(await reached(), ['reached', 'reached'], 'a guard for the pods’ interface alone lets them pass');
      await guard(world, ANY_INTERFACE);
      for (const answer of await reached()) assert.match(answer, /^ECONN(?:REFUSED|RESET)$/);
      await flush(world, 'filter');
      assert.deepEqual(await reached(), ['timeout', 'timeout'], 'the backstop alone');
      assert.deepEqual(body(await world.node.get(V4, 80)).slice(0, 8), 'metadata', 'the node itself still reaches it');
    });
  }
});

async function guard({ network }: NetworkWorld, guardInterface: HostInterface): Promise<void> {
  const outcome = await applyGuardOnce({
    guardInterface,
    clock: systemClock,
    logger: recordingLogger().logger,
    run: createCommandRunner({ clock: systemClock, prefix: network.node.exec }),
    signal: new AbortController().signal,
  });
  assert.deepEqual(outcome, { ok: true, families: ['ipv4', 'ipv6'] });
}

async function flush({ network }: NetworkWorld, table: string): Promise<void> {
  for (const command of ['iptables', 'ip6tables']) {
    const outcome = await runCommand([...network.node.exec, command, '-w', '5', '-t', table, '-F']);
    assert.ok(outcome.ok);
  }
}

function body(answer?: { readonly ok: boolean; readonly body?: string; readonly error?: string }): string {
  return answer?.body ?? answer?.error ?? '';
}
