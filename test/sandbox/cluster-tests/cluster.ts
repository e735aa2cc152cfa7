import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#runtime/clock.ts';
import { listAt, textAt } from '../json.ts';
import type { SandboxNode, SandboxPod } from '../kubernetes-api/kubelet.ts';
import { METADATA_ADDRESS, POD_SUBNET, WORLD_ADDRESS } from '../network/addresses.ts';
import { type ClusterNetwork, createClusterNetwork } from './cluster-network.ts';
import { listenInside } from '../network/listen-inside.ts';
import { type NetworkNamespace, sweepLeftovers } from '../network/namespaces.ts';

import { startWorld, type World } from '../world.ts';
import type { Image } from './container.ts';
import { HostsFile } from './hosts-file.ts';
import { PodProcesses } from './pod-processes.ts';

export interface ClusterOptions {
  /** An existing folder, which the caller removes. */
  readonly folder: string;
  /** PATH for the programs. */
  readonly path: string;
  readonly pid: number;
  /** The interpreter with its own flags, and the file `programs/listen-inside.ts`. */
  readonly programs: { readonly node: readonly string[]; readonly listenInside: string };
  readonly nodes: readonly SandboxNode[];
  /** What the names of the nodes' pod interfaces begin with. */
  readonly interfacePrefix: string;
  /** Programs by the image in whose place they run; containers of other images run nothing. */
  readonly images: (world: World) => Readonly<Record<string, Image>>;
}

/** A cluster of several nodes in which `kubectl apply` of a DaemonSet starts real programs. */
export interface SandboxCluster {
  readonly world: World;
  /** Words that go before a command that is to run where the Kubernetes API is reached. */
  readonly exec: readonly string[];
  /** Words that go before a command in a pod's place. */
  podExec(address: string): readonly string[];
  /** What the programs of all pods with this label `role` have said, also of those that are gone. */
  log(role: string): readonly string[];
  close(): Promise<void>;
  /** For an exit handler. */
  closeSync(): void;
}

/** Needs what `networkSupport` looks for. STS has its own name and certificate here, as in AWS. */
export async function createCluster(options: ClusterOptions): Promise<SandboxCluster> {
  await sweepLeftovers();
  const { folder, pid, nodes, interfacePrefix } = options;
  const network = await createClusterNetwork({ pid, nodes, interfacePrefix });
  const hosts = new HostsFile(join(folder, 'hosts'), { 'sts.amazonaws.com': WORLD_ADDRESS });
  const places = new Map<string, NetworkNamespace>();
  const processes = new Map<string, { readonly role: string; readonly running: PodProcesses }>();
  const parts: { world?: World; images?: Readonly<Record<string, Image>> } = {};

  const start = async (pod: SandboxPod): Promise<void | 'unready'> => {
    const { world, images = {} } = parts;
    const [address = ''] = pod.addresses;
    const place = pod.hostNetwork ? network.node(pod.nodeName) : await network.addPod(pod.nodeName, address);
    if (!pod.hostNetwork) places.set(address, place);
    const containers = [...listAt(pod.spec, 'initContainers'), ...listAt(pod.spec, 'containers')];
    if (world === undefined || !containers.some((container) => textAt(container, 'image') in images)) return;
    const own = join(folder, pod.uid);
    await mkdir(own);
    const running = new PodProcesses({
      clock: systemClock,
      api: world.api,
      pod,
      images,
      folder: own,
      node: options.programs.node,
      exec: [...place.exec, 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts.path],
    });
    processes.set(pod.uid, { role: pod.labels['role'] ?? '', running });
    return 'unready';
  };
  const end = async (pod: SandboxPod): Promise<void> => {
    await processes.get(pod.uid)?.running.stop();
    if (pod.hostNetwork) return;
    const [address = ''] = pod.addresses;
    places.delete(address);
    await network.removePod(address);
  };

  const world = await startClusterWorld(options, network, { start, end });
  parts.world = world;
  parts.images = options.images(world);
  world.api.followServices((addresses) => hosts.write(addresses));
  const all = (): readonly PodProcesses[] => [...processes.values()].map(({ running }) => running);
  return {
    world,
    exec: network.world.exec,
    podExec: (address) => places.get(address)?.exec ?? [],
    log: (role) => [...processes.values()].filter((kept) => kept.role === role).flatMap(({ running }) => running.log()),
    close: async () => {
      await Promise.all(all().map((running) => running.stop()));
      await world.close();
      hosts.close();
      await network.remove();
    },
    closeSync: () => {
      for (const running of all()) running.stopSync();
      network.removeSync();
    },
  };
}

async function startClusterWorld(
  { folder, path, nodes, programs }: ClusterOptions,
  network: ClusterNetwork,
  hooks: {
    readonly start: (pod: SandboxPod) => Promise<void | 'unready'>;
    readonly end: (pod: SandboxPod) => Promise<void>;
  },
): Promise<World> {
  const open = listenInside(network.world, [...programs.node, programs.listenInside], { PATH: path });
  try {
    return await startWorld({
      folder,
      path,
      addresses: {
        api: { host: WORLD_ADDRESS, port: 6443, open },
        sts: { host: WORLD_ADDRESS, port: 443, open },
        metadata: { host: METADATA_ADDRESS, port: 80, open },
      },
      stsOverHttps: true,
      // The node's role is there for whoever gets past the agent.
      requireMetadataToken: false,
      nodes,
      podAddresses: Array.from({ length: 253 }, (_, index) => `${POD_SUBNET}.${index + 2}`),
      onPodRunning: hooks.start,
      onPodGone: hooks.end,
    });
  } catch (error) {
    await network.remove();
    throw error;
  }
}
