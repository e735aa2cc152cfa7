import { METADATA_ADDRESS, METADATA_ADDRESS_6 } from '#sandbox/network/addresses.ts';
import { runCommand } from '#sandbox/network/commands.ts';
import type { Network } from '#sandbox/network/network.ts';

/** What flannel calls its device, with the number and port that it gives it (flannel, Documentation/backends.md). */
const DEVICE = 'flannel.1';
const VXLAN = 'type vxlan id 1 dstport 8472 nolearning';
const DEVICE_MAC = '02:00:c6:12:03:01';
const DEVICE_ADDRESS = '198.18.3.1';
const DEVICE_ADDRESS_6 = 'fd00:198:18:3::1';

/**
 * Gives the node flannel's VXLAN device, and has the pod 198.18.1.2 send what is for the metadata service to its own node
 * inside such a tunnel, from its own address: what the node unpacks has come in by `flannel.1`. The answers come back by the
 * pod's own interface.
 */
export async function createVxlanAttacker(network: Network): Promise<void> {
  const { node } = network;
  const pod = node.exec.map((word) => word.replace(/-node$/, '-pod1'));
  await all(node.exec, [
    `ip link add ${DEVICE} address ${DEVICE_MAC} ${VXLAN} local ${node.address} dev eth0`,
    `ip addr add ${DEVICE_ADDRESS}/32 dev ${DEVICE}`,
    `ip addr add ${DEVICE_ADDRESS_6}/128 dev ${DEVICE} nodad`,
    `ip link set ${DEVICE} up`,
    ...masquerade(),
  ]);
  await all(pod, [
    'sysctl -q -w net.ipv4.conf.all.rp_filter=0',
    'sysctl -q -w net.ipv4.conf.default.rp_filter=0',
    `ip link add vx0 ${VXLAN} remote ${node.address}`,
    'ip link set vx0 up',
    `ip neigh add ${DEVICE_ADDRESS} lladdr ${DEVICE_MAC} dev vx0 nud permanent`,
    `ip neigh add ${DEVICE_ADDRESS_6} lladdr ${DEVICE_MAC} dev vx0 nud permanent`,
    `ip route add ${METADATA_ADDRESS}/32 via ${DEVICE_ADDRESS} dev vx0 onlink src 198.18.1.2`,
    `ip -6 route add ${METADATA_ADDRESS_6}/128 via ${DEVICE_ADDRESS_6} dev vx0 onlink src fd00:198:18:1::2`,
  ]);
}

/**
 * What kube-proxy makes of a Service with a node port whose EndpointSlice names the metadata service: the API server refuses
 * one for 169.254.169.254 and accepts one for fd00:ec2::254. Resolves with the port.
 */
export async function openNodePort({ node }: Network): Promise<number> {
  const port = 30_080;
  const translate = (address: string, to: string): string =>
    `-t nat -A PREROUTING -d ${address} -p tcp --dport ${port} -j DNAT --to-destination ${to}:80`;
  await all(node.exec, [
    `iptables -w 5 ${translate(node.address, METADATA_ADDRESS)}`,
    `ip6tables -w 5 ${translate(node.address6, `[${METADATA_ADDRESS_6}]`)}`,
    ...masquerade(),
  ]);
  return port;
}

/** What leaves by eth0 has the node's address, as CNI plugins and kube-proxy see to it. */
function masquerade(): string[] {
  return ['iptables', 'ip6tables'].map((command) => `${command} -w 5 -t nat -A POSTROUTING -o eth0 -j MASQUERADE`);
}

async function all(exec: readonly string[], commands: readonly string[]): Promise<void> {
  for (const command of commands) {
    const outcome = await runCommand([...exec, ...command.split(' ')]);
    if (!outcome.ok) throw new Error(outcome.reason);
  }
}
