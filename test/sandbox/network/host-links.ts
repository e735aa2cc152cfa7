import { runCommand } from './commands.ts';
import { configure } from './namespaces.ts';

/** A pair of addresses: the caller's namespace has one, the namespace behind the link the other. */
export interface HostLink {
  /** The caller's end. */
  readonly hostInterface: string;
  readonly hostAddress: string;
  readonly peerAddress: string;
}

/** The caller's own links: to what runs on the node, and to what runs in the metadata namespace. */
export interface HostLinks {
  readonly node: HostLink;
  readonly metadata: HostLink;
}

/**
 * Links the caller's namespace with two others. Each link has four addresses of 198.19.0.0/16 for itself, picked by
 * process id and skipped while another interface has them. The kernel takes the links away some time after the
 * namespaces.
 */
export async function linkHost(
  names: { readonly node: string; readonly metadata: string },
  pid: number,
): Promise<HostLinks> {
  const first = pid % SUBNETS;
  const node = await link(names.node, `kn${pid}`, first);
  return { node: node.link, metadata: (await link(names.metadata, `km${pid}`, node.subnet + 1)).link };
}

/** So many times four addresses make up 198.19.0.0/16. */
const SUBNETS = 16_384;
const ATTEMPTS = 64;

async function link(namespace: string, baseName: string, first: number): Promise<{ link: HostLink; subnet: number }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const subnet = (first + attempt) % SUBNETS;
    const prefix = `198.19.${subnet >> 6}`;
    const hostAddress = `${prefix}.${((subnet & 63) << 2) + 1}`;
    const peerAddress = `${prefix}.${((subnet & 63) << 2) + 2}`;
    const taken = await runCommand(['ip', '-o', 'addr', 'show', 'to', `${hostAddress}/30`]);
    if (!taken.ok || taken.output.trim() !== '') continue;
    const name = `${baseName}x${attempt}`.slice(0, 15);
    const pair = ['type', 'veth', 'peer', 'name', 'host0', 'netns', namespace];
    const added = await runCommand(['ip', 'link', 'add', name, ...pair]);
    if (!added.ok) throw new Error(added.reason);
    await configure(namespace, [`addr add ${peerAddress}/30 dev host0`, 'link set host0 up']);
    const configured = await runCommand(['ip', '-batch', '-'], hostLines(hostAddress, name));
    if (!configured.ok) throw new Error(configured.reason);
    return { link: { hostInterface: name, hostAddress, peerAddress }, subnet };
  }
  throw new Error('no four addresses of 198.19.0.0/16 are free');
}

function hostLines(hostAddress: string, name: string): string {
  return `addr add ${hostAddress}/30 dev ${name}\nlink set ${name} up\n`;
}
