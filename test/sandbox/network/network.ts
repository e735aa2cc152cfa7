import {
  isPodAddress,
  METADATA_ADDRESS,
  METADATA_ADDRESS_6,
  NODE_ADDRESS,
  NODE_ADDRESS_6,
  POD_SUBNET,
  POD_SUBNET_6,
  podAddress6,
  WORLD_ADDRESS,
  WORLD_ADDRESS_6,
} from './addresses.ts';
import { runCommand, runCommandSync } from './commands.ts';
import { type HostLinks, linkHost } from './host-links.ts';
import {
  addNamespace,
  configure,
  type NetworkNamespace,
  networkNamespace,
  removeNamespace,
  removeNamespaceSync,
  setParameters,
} from './namespaces.ts';
import { BRIDGE, connectPod, disconnectPod, type Topology } from './topology.ts';

export interface NetworkOptions {
  /** The caller's process id: names are unique to it, and a sweep finds what it left behind. */
  readonly pid: number;
  /** Tells several networks of one process apart; letters and digits. */
  readonly label?: string;
  /** `routed`: a route and an interface per pod, as Calico and the VPC CNI have. `bridge`: one bridge, `kbr0`. */
  readonly topology: Topology;
  /** What the names of the node's pod interfaces begin with: at most 8 letters. Default `veth`. */
  readonly interfacePrefix?: string;
  /** The node's own interface, by which it reaches the world. Default `eth0`. */
  readonly uplink?: string;
  /** Whether iptables sees what goes from port to port of a bridge, as kube-proxy and many CNI plugins want it. Default false. */
  readonly bridgeNetfilter?: boolean;
  /** Also gives the caller's own namespace a link to the node and to the metadata namespace. Default false. */
  readonly hostLinks?: boolean;
}

export interface PodNamespace extends NetworkNamespace {
  readonly address: string;
  readonly address6: string;
  /** The node's end of the pod's veth pair. */
  readonly nodeInterface: string;
}

/** One node, its pods, and beyond the node's `eth0` the world: the metadata service and whatever else pods call. */
export interface Network {
  readonly node: NetworkNamespace & { readonly address: string; readonly address6: string };
  /** Owns 169.254.169.254 and fd00:ec2::254, and the addresses for STS and others. */
  readonly metadata: NetworkNamespace & { readonly address: string; readonly address6: string };
  /** What `--host-interface` must be: a pattern for routed pods, the bridge otherwise. */
  readonly hostInterface: string;
  /** Present when asked for. */
  readonly host: HostLinks | undefined;
  /** Adds a pod with an address of 198.18.1.2 to 198.18.1.254. Throws when one has it, or when the kernel refuses. */
  addPod(address: string): Promise<PodNamespace>;
  /** Ends a pod's processes and takes its interface and namespace away. No such pod is fine. */
  removePod(address: string): Promise<void>;
  /** Removes everything; may be called twice. */
  remove(): Promise<void>;
  /** The same for an exit handler. */
  removeSync(): void;
}

/** Builds the network, or throws with what failed and leaves nothing behind. Needs what `networkSupport` looks for. */
export async function createNetwork(options: NetworkOptions): Promise<Network> {
  const base = `kiam-${options.pid}-${options.label ?? '0'}`;
  const names = { node: `${base}-node`, metadata: `${base}-metadata` };
  // Only what this network has made itself is ever removed; the node and the metadata namespace come first.
  const made = new Set<string>();
  const pods = new Map<string, PodNamespace>();
  const interfacePrefix = options.interfacePrefix ?? 'veth';
  let host: HostLinks | undefined;
  let count = 0;

  const make = async (namespace: string): Promise<void> => {
    await addNamespace(namespace);
    made.add(namespace);
  };
  const takePod = async (pod: PodNamespace): Promise<void> => {
    await disconnectPod(names.node, pod);
    await removeNamespace(pod.namespace);
    made.delete(pod.namespace);
    pods.delete(pod.address);
  };
  const remove = async (): Promise<void> => {
    for (const end of hostEnds(host)) await runCommand(['ip', 'link', 'del', end]);
    await Promise.all([...made].map(removeNamespace));
    made.clear();
    pods.clear();
  };

  try {
    await make(names.node);
    await make(names.metadata);
    await buildNode(names, options);
    if (options.hostLinks === true) host = await linkHost(names, options.pid);
  } catch (error) {
    await remove();
    throw error;
  }

  return {
    node: { ...networkNamespace(names.node), address: NODE_ADDRESS, address6: NODE_ADDRESS_6 },
    metadata: { ...networkNamespace(names.metadata), address: WORLD_ADDRESS, address6: WORLD_ADDRESS_6 },
    hostInterface: options.topology === 'bridge' ? BRIDGE : `${interfacePrefix}+`,
    host,
    addPod: async (address) => {
      if (!isPodAddress(address)) throw new Error(`${address} is not between ${POD_SUBNET}.2 and ${POD_SUBNET}.254`);
      if (pods.has(address)) throw new Error(`there is a pod with the address ${address}`);
      count += 1;
      const pod: PodNamespace = {
        ...networkNamespace(`${base}-pod${count}`),
        address,
        address6: podAddress6(address),
        // By address, so that the next pod with the address has an interface of the same name: the hardest case.
        nodeInterface: `${interfacePrefix}${address.slice(address.lastIndexOf('.') + 1)}`,
      };
      pods.set(address, pod);
      try {
        await make(pod.namespace);
        await setParameters(pod.namespace, { 'net/ipv6/conf/default/accept_dad': '0' });
        await connectPod(names.node, pod, options.topology);
      } catch (error) {
        await takePod(pod);
        throw error;
      }
      return pod;
    },
    removePod: async (address) => {
      const pod = pods.get(address);
      if (pod !== undefined) await takePod(pod);
    },
    remove,
    removeSync: () => {
      for (const end of hostEnds(host)) runCommandSync(['ip', 'link', 'del', end]);
      for (const namespace of made) removeNamespaceSync(namespace);
      made.clear();
      pods.clear();
    },
  };
}

function hostEnds(host: HostLinks | undefined): string[] {
  return host === undefined ? [] : [host.node.hostInterface, host.metadata.hostInterface];
}

/** Node and world know each other from the start: the first neighbour solicitation over a new link may be lost. */
const NODE_MAC = '02:00:c6:12:00:01';
const WORLD_MAC = '02:00:c6:12:00:0a';

/** As bridge plugins do: a bridge without an address of its own takes its members', and forgets its neighbours at each change. */
const BRIDGE_MAC = '02:00:c6:12:01:01';

/**
 * The node forwards between its pods and eth0, as every node does: without an agent a pod reaches the metadata service.
 * The world has a route back to the pods, so that no rule of iptables is needed before the agent's own.
 */
async function buildNode(
  names: { readonly node: string; readonly metadata: string },
  { topology, uplink = 'eth0', bridgeNetfilter = false }: NetworkOptions,
): Promise<void> {
  const forwarding = {
    'net/ipv4/ip_forward': '1',
    'net/ipv6/conf/all/forwarding': '1',
    'net/ipv6/conf/default/accept_dad': '0',
    'net/ipv4/conf/all/rp_filter': '0',
    'net/ipv4/conf/default/rp_filter': '0',
  };
  await Promise.all([setParameters(names.node, forwarding), setParameters(names.metadata, forwarding)]);
  if (topology === 'bridge' && bridgeNetfilter) await filterBridge(names.node);
  const bridge = [
    `link add ${BRIDGE} address ${BRIDGE_MAC} type bridge`,
    `addr add ${POD_SUBNET}.1/24 dev ${BRIDGE}`,
    `addr add ${POD_SUBNET_6}::1/64 dev ${BRIDGE} nodad`,
    `link set ${BRIDGE} up`,
  ];
  await configure(names.node, [
    `link add ${uplink} address ${NODE_MAC} type veth peer name eth0 address ${WORLD_MAC} netns ${names.metadata}`,
    `addr add ${NODE_ADDRESS}/24 dev ${uplink}`,
    `addr add ${NODE_ADDRESS_6}/64 dev ${uplink} nodad`,
    `link set ${uplink} up`,
    `neigh add ${WORLD_ADDRESS_6} lladdr ${WORLD_MAC} dev ${uplink} nud permanent`,
    ...(topology === 'bridge' ? bridge : []),
  ]);
  await configure(names.metadata, [
    `addr add ${WORLD_ADDRESS}/24 dev eth0`,
    `addr add ${WORLD_ADDRESS_6}/64 dev eth0 nodad`,
    `addr add ${METADATA_ADDRESS}/32 dev lo`,
    `addr add ${METADATA_ADDRESS_6}/128 dev lo nodad`,
    'link set eth0 up',
    `neigh add ${NODE_ADDRESS_6} lladdr ${NODE_MAC} dev eth0 nud permanent`,
    `route add ${POD_SUBNET}.0/24 via ${NODE_ADDRESS}`,
    `route add ${POD_SUBNET_6}::/64 via ${NODE_ADDRESS_6}`,
  ]);
  await configure(names.node, [
    `route add ${METADATA_ADDRESS}/32 via ${WORLD_ADDRESS}`,
    `route add ${METADATA_ADDRESS_6}/128 via ${WORLD_ADDRESS_6}`,
  ]);
}

/** br_netfilter: https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html#proc-sys-net-bridge-variables */
async function filterBridge(node: string): Promise<void> {
  await setParameters(node, { 'net/bridge/bridge-nf-call-iptables': '1', 'net/bridge/bridge-nf-call-ip6tables': '1' });
}
