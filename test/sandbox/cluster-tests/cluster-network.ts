import { METADATA_ADDRESS, podAddress6, WORLD_ADDRESS } from '../network/addresses.ts';
import {
  addNamespace,
  configure,
  networkNamespace,
  type NetworkNamespace,
  removeNamespace,
  removeNamespacesOfSync,
  setParameters,
} from '../network/namespaces.ts';
import type { PodNamespace } from '../network/network.ts';
import { connectPod, disconnectPod } from '../network/topology.ts';

export interface ClusterNetworkOptions {
  /** The caller's process id: names are unique to it, and a sweep finds what it left behind. */
  readonly pid: number;
  /** Names and addresses of the nodes: 198.18.0.11 and on. */
  readonly nodes: readonly { readonly name: string; readonly address: string }[];
  /** What the names of the nodes' pod interfaces begin with. */
  readonly interfacePrefix: string;
}

/** Several nodes round one world, which has the metadata service's address, STS and the Kubernetes API. IPv4 between nodes. */
export interface ClusterNetwork {
  readonly world: NetworkNamespace;
  node(name: string): NetworkNamespace;
  addPod(nodeName: string, address: string): Promise<PodNamespace>;
  removePod(address: string): Promise<void>;
  remove(): Promise<void>;
  /** The same for an exit handler. */
  removeSync(): void;
}

const PREFIX = 'kiam';

export async function createClusterNetwork(options: ClusterNetworkOptions): Promise<ClusterNetwork> {
  const { pid, nodes, interfacePrefix } = options;
  const nameOf = (what: string): string => `${PREFIX}-${pid}-c-${what}`;
  const world = nameOf('world');
  const made = new Set<string>();
  const pods = new Map<string, { readonly node: string; readonly pod: PodNamespace }>();
  let count = 0;

  const make = async (namespace: string): Promise<void> => {
    await addNamespace(namespace);
    made.add(namespace);
    await setParameters(namespace, FORWARDING);
  };
  const drop = async (namespace: string): Promise<void> => {
    await removeNamespace(namespace);
    made.delete(namespace);
  };
  const remove = async (): Promise<void> => {
    await Promise.all([...made].map(drop));
    pods.clear();
  };

  try {
    await make(world);
    await configure(world, [`addr add ${WORLD_ADDRESS}/32 dev lo`, `addr add ${METADATA_ADDRESS}/32 dev lo`]);
    for (const [index, { name, address }] of nodes.entries()) {
      await make(nameOf(name));
      await linkNode({ world, node: nameOf(name), address, worldInterface: `node${index}` });
    }
  } catch (error) {
    await remove();
    throw error;
  }

  return {
    world: networkNamespace(world),
    node: (name) => networkNamespace(nameOf(name)),
    addPod: async (nodeName, address) => {
      count += 1;
      const pod: PodNamespace = {
        ...networkNamespace(nameOf(`pod${count}`)),
        address,
        address6: podAddress6(address),
        nodeInterface: `${interfacePrefix}${address.slice(address.lastIndexOf('.') + 1)}`,
      };
      await make(pod.namespace);
      pods.set(address, { node: nameOf(nodeName), pod });
      await connectPod(nameOf(nodeName), pod, 'routed');
      const via = nodes.find(({ name }) => name === nodeName)?.address ?? '';
      await configure(world, [`route replace ${address}/32 via ${via} onlink dev ${interfaceOf(nodes, nodeName)}`]);
      return pod;
    },
    removePod: async (address) => {
      const found = pods.get(address);
      if (found === undefined) return;
      pods.delete(address);
      await configure(world, [`route del ${address}/32`]);
      await disconnectPod(found.node, found.pod);
      await drop(found.pod.namespace);
    },
    remove,
    removeSync: () => removeNamespacesOfSync(pid, PREFIX),
  };
}

/** Every namespace but a pod's forwards; a pod's does no harm by it. */
const FORWARDING = {
  'net/ipv4/ip_forward': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
  'net/ipv6/conf/default/accept_dad': '0',
};

interface NodeLink {
  readonly world: string;
  readonly node: string;
  readonly address: string;
  readonly worldInterface: string;
}

/** A node has the world for its gateway, and all other nodes and pods behind it, as in a routed cloud network. */
async function linkNode({ world, node, address, worldInterface }: NodeLink): Promise<void> {
  await configure(world, [`link add ${worldInterface} type veth peer name eth0 netns ${node}`]);
  await configure(node, [
    `addr add ${address}/32 dev eth0`,
    'link set eth0 up',
    `route add ${WORLD_ADDRESS}/32 dev eth0`,
    `route add default via ${WORLD_ADDRESS} dev eth0 onlink src ${address}`,
  ]);
  await configure(world, [`link set ${worldInterface} up`, `route add ${address}/32 dev ${worldInterface}`]);
}

function interfaceOf(nodes: ClusterNetworkOptions['nodes'], name: string): string {
  return `node${nodes.findIndex((node) => node.name === name)}`;
}
