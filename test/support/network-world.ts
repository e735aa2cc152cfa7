import { sweepLeftovers } from '#sandbox/network/namespaces.ts';
import { createNetwork, type Network, type NetworkOptions } from '#sandbox/network/network.ts';
import { networkSupport } from '#sandbox/network/support.ts';

import { commandsOn } from './commands-on.ts';
import { type Probe, startProbe } from './network-probe.ts';

/**
 * Why tests that build network namespaces are skipped, or false when they run. With KIAM_REQUIRE_NETWORK=1 nothing is
 * skipped: where namespaces cannot be built it throws.
 */
export async function networkSkip(): Promise<string | false> {
  const uid = process.geteuid?.();
  const support = await networkSupport({ platform: process.platform, uid, pid: process.pid });
  if (support.ok) return false;
  if (process.env['KIAM_REQUIRE_NETWORK'] === '1') throw new Error(`network tests are required: ${support.reason}`);
  return `NETWORK TESTS SKIPPED: ${support.reason}`;
}

/** A node, a pod and the metadata service, which answers everything that reaches it with `metadata`. */
export interface NetworkWorld {
  readonly network: Network;
  /** The pod 198.18.1.2. */
  readonly pod: Probe;
  /** On the node; serves nothing yet. */
  readonly node: Probe;
  /** Runs a command on the node. */
  readonly onNode: ReturnType<typeof commandsOn>;
  remove(): Promise<void>;
}

let worlds = 0;

/** Builds a world. It goes with `remove`, or when the process ends in whatever way it can see. */
export async function createNetworkWorld(topology: NetworkOptions['topology']): Promise<NetworkWorld> {
  worlds += 1;
  const label = `w${worlds}`;
  await sweepLeftovers();
  const network = await createNetwork({ pid: process.pid, label, topology });
  const removeSync = (): void => network.removeSync();
  process.once('exit', removeSync);
  const { exec } = await network.addPod('198.18.1.2');
  const probes = await Promise.all([exec, network.node.exec, network.metadata.exec].map(startProbe));
  const [pod, node, metadata] = probes;
  if (pod === undefined || node === undefined || metadata === undefined) throw new Error('there are not three probes');
  for (const port of [80, 8080]) await metadata.listen('::', port, 'metadata');
  return {
    network,
    pod,
    node,
    onNode: commandsOn(network.node.exec),
    remove: async () => {
      await Promise.all(probes.map((probe) => probe.stop()));
      await network.remove();
      process.off('exit', removeSync);
    },
  };
}
