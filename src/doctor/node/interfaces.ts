import { podInterfaceKey } from '#agent/evidence/interfaces.ts';
import type { KernelFiles } from '#agent/evidence/kernel-files.ts';
import { areDisjoint, type HostInterface, isAnyInterface } from '#agent/interception/host-interface.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';

export interface InterfacesCheckOptions {
  readonly hostInterface: HostInterface;
  readonly files: KernelFiles;
  /** The addresses of each interface with their prefix lengths, `192.0.2.1/24`: what `os.networkInterfaces` tells. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

const EXAMPLES = 'cali+ for Calico, eni+ or !eth0 for the Amazon VPC CNI, cbr0, docker0, weave';

/** `--host-interface` against the interfaces by which pods' packets really come in on this node. */
export function checkInterfaces({ hostInterface, files, addresses }: InterfacesCheckOptions): Observation[] {
  if (isAnyInterface(hostInterface)) return [ok('the redirect matches packets from every interface')];
  const text = `--host-interface=${hostInterface.inverted ? '!' : ''}${hostInterface.name}`;
  const uplinks = uplinksOf(files);
  const pods = podInterfaces(files, addresses, uplinks);
  const matched = (name: string): boolean => !areDisjoint(hostInterface, { inverted: false, name });
  const observations: Observation[] = [];
  const caughtUplink = [...uplinks].find(matched);
  if (caughtUplink !== undefined) {
    const says = `${text} also matches ${caughtUplink}, the node’s uplink: packets of others than pods may be redirected, too`;
    observations.push(cannotTell(says, `give what matches pods alone: ${EXAMPLES}`));
  }
  if (pods.length === 0) {
    const exists = hostInterface.inverted || files.list('/sys/class/net').some(matched);
    const says = `no pod runs on this node yet${exists ? '' : `, and no interface matches ${text}`}`;
    return [...observations, cannotTell(says, `run it again when one does; interfaces of pods are ${EXAMPLES}`)];
  }
  const missed = pods.filter((name) => !matched(name));
  if (missed.length > 0) {
    const says = `${text} does not match ${shortList(missed)}, by which pods’ packets arrive: they are not redirected to the agent`;
    return [
      ...observations,
      wrong(says, `give --host-interface=+ for any interface, or what they have in common: ${suggestion(pods)}`),
    ];
  }
  return [...observations, ok(`${text} matches all interfaces of pods: ${shortList(pods)}`)];
}

/**
 * The interfaces on which netfilter sees the packets of pods come in: the bridge where the pod's end is a port of one, else
 * the end itself. The uplink of a virtual machine may be an end of a pair, too, and so may links to something else that is no
 * pod: those have an address in a subnet of their own.
 */
function podInterfaces(
  files: KernelFiles,
  addresses: InterfacesCheckOptions['addresses'],
  uplinks: ReadonlySet<string>,
): string[] {
  const names = files.list('/sys/class/net');
  const found = new Set<string>();
  for (const name of names) {
    const bridge = masterOf(files, name);
    const hasSubnet = (addresses.get(name) ?? []).some((address) => !/(?:^fe80:|\/32$|\/128$)/.test(address));
    if (uplinks.has(name) || LINKS_WITHIN.test(name) || hasSubnet || podInterfaceKey(files, name) === undefined)
      continue;
    found.add(bridge ?? name);
  }
  return [...found].filter((name) => !uplinks.has(name)).toSorted();
}

/** Both ends of Cilium's own pair are on the node. */
const LINKS_WITHIN = /^cilium_(?:host|net)$/;

/** The bridge that an interface is a port of (https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-net). */
function masterOf(files: KernelFiles, name: string): string | undefined {
  return files.list('/sys/class/net').find((bridge) => files.list(`/sys/class/net/${bridge}/brif`).includes(name));
}

/** The devices of default routes, in the text of /proc/net/route. */
function uplinksOf(files: KernelFiles): ReadonlySet<string> {
  const table = files.read('/proc/net/route')?.toString('latin1') ?? '';
  const lines = table.split('\n').map((line) => line.split('\t'));
  return new Set(lines.filter(([, to, , , , , , mask]) => to === ZERO && mask === ZERO).map(([device = '']) => device));
}

const ZERO = '00000000';

function shortList(names: readonly string[]): string {
  return names.length <= 4 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}

/** The longest beginning that all have in common, as iptables writes it. */
function suggestion(names: readonly string[]): string {
  const [first = ''] = names;
  if (names.length === 1 && !/\d/.test(first)) return first;
  let length = first.length;
  while (length > 0 && !names.every((name) => name.startsWith(first.slice(0, length)))) length -= 1;
  // Beyond the letters stand what tells pods apart.
  const common = /^[a-z_.-]*/i.exec(first.slice(0, length))?.[0] ?? '';
  return common === '' ? EXAMPLES : `${common}+`;
}
