import { macOfAddress, POD_SUBNET, POD_SUBNET_6 } from './addresses.ts';
import { runCommand } from './commands.ts';
import { configure } from './namespaces.ts';

export type Topology = 'routed' | 'bridge';

/** The node's bridge, where there is one. */
export const BRIDGE = 'kbr0';

/**
 * The node's end of a routed pod's pair has this MAC, as Calico's has: the pod needs no ARP for its gateway. GATEWAY_6 is the
 * link-local address that the kernel makes of it (RFC 4291, appendix A).
 */
const GATEWAY_MAC = 'ee:ee:ee:ee:ee:ee';
const GATEWAY = '169.254.1.1';
const GATEWAY_6 = 'fe80::ecee:eeff:feee:eeee';

interface PodLink {
  readonly namespace: string;
  readonly address: string;
  readonly address6: string;
  readonly nodeInterface: string;
}

/** Gives a pod its eth0 and its way to the node. */
export async function connectPod(node: string, pod: PodLink, topology: Topology): Promise<void> {
  if (topology === 'bridge') await connectByBridge(node, pod);
  else await connectByRoute(node, pod);
}

/** Takes the pair away at once: the kernel would do it some time after the namespace has gone. */
export async function disconnectPod(node: string, pod: PodLink): Promise<void> {
  await runCommand(['ip', '-n', node, 'link', 'del', pod.nodeInterface]);
}

/** The first index that the node's ends of routed pods have; the node's own interfaces have lower ones. */
const FIRST_INDEX = 10_000;

/**
 * The pair is made in the pod, as some CNI plugins do, and the node's end keeps the index that it was made with: so that the
 * next pod with the address has an interface of the same index, the hardest case.
 */
async function connectByRoute(node: string, pod: PodLink): Promise<void> {
  await configure(pod.namespace, [
    `link add ${pod.nodeInterface} index ${FIRST_INDEX + lastOf(pod.address)} address ${GATEWAY_MAC} type veth peer name eth0`,
    `link set ${pod.nodeInterface} netns ${node}`,
  ]);
  await configure(node, [`link set ${pod.nodeInterface} up`]);
  await configure(pod.namespace, [
    `addr add ${pod.address}/32 dev eth0`,
    `addr add ${pod.address6}/128 dev eth0 nodad`,
    'link set eth0 up',
    `neigh add ${GATEWAY} lladdr ${GATEWAY_MAC} dev eth0 nud permanent`,
    `neigh add ${GATEWAY_6} lladdr ${GATEWAY_MAC} dev eth0 nud permanent`,
    `route add ${GATEWAY}/32 dev eth0`,
    `route add default via ${GATEWAY} dev eth0`,
    `route add default via ${GATEWAY_6} dev eth0`,
  ]);
  await configure(node, [
    `route add ${pod.address}/32 dev ${pod.nodeInterface}`,
    `route add ${pod.address6}/128 dev ${pod.nodeInterface}`,
  ]);
}

function lastOf(address: string): number {
  return Number(address.slice(address.lastIndexOf('.') + 1));
}

async function connectByBridge(node: string, pod: PodLink): Promise<void> {
  const mac = macOfAddress(pod.address);
  await configure(node, [
    `link add ${pod.nodeInterface} type veth peer name eth0 address ${mac} netns ${pod.namespace}`,
    `link set ${pod.nodeInterface} master ${BRIDGE} up`,
  ]);
  await configure(pod.namespace, [
    `addr add ${pod.address}/24 dev eth0`,
    `addr add ${pod.address6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${POD_SUBNET}.1 dev eth0`,
    `route add default via ${POD_SUBNET_6}::1 dev eth0`,
  ]);
}
