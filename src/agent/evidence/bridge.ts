import { podInterfaceKey } from './interfaces.ts';
import { type KernelFiles, readNumber } from './kernel-files.ts';
import { neighboursOf } from './neighbours.ts';

/** The interface behind the port of a bridge. */
export interface BridgePort {
  readonly key: string;
  /** Whether nobody else was learned there. */
  readonly isPrivate: boolean;
}

/** Where an IPv4 neighbour is on a bridge: undefined where that cannot be told. */
export type FindBridgePort = (bridge: string, address: string) => BridgePort | undefined;

/** Remembers where it looked last as a hint where to look first; what it answers is read again every time. */
export function createBridgePorts(files: KernelFiles): FindBridgePort {
  const hints = new Map<string, string>();
  return (bridge, address) => {
    const arp = files.read('/proc/net/arp')?.toString('latin1');
    const forwarding = files.read(`/sys/class/net/${bridge}/brforward`);
    const mac = neighboursOf(arp ?? '', address).find(({ device }) => device === bridge)?.mac;
    if (mac === undefined || forwarding === undefined) return undefined;
    const found = portOf(forwarding, mac);
    if (found === undefined) return undefined;
    const { port, isPrivate } = found;
    const hint = hints.get(`${bridge} ${port}`);
    const device = [...(hint === undefined ? [] : [hint]), ...files.list(`/sys/class/net/${bridge}/brif`)].find(
      (member) => readNumber(files, `/sys/class/net/${bridge}/brif/${member}/port_no`) === port,
    );
    if (device === undefined) return undefined;
    if (hints.size > MOST_HINTS) hints.clear();
    hints.set(`${bridge} ${port}`, device);
    const key = podInterfaceKey(files, device);
    return key === undefined ? undefined : { key: `${bridge} ${mac} ${key}`, isPrivate };
  };
}

/** A bridge has at most 1023 ports (Linux, net/bridge/br_private.h, BR_PORT_BITS). */
const MOST_HINTS = 4096;

/** `struct __fdb_entry` of linux/if_bridge.h: MAC, low byte of the port, local or not, age, high byte of the port, padding. */
const ENTRY_BYTES = 16;

/** The port that a MAC was learned on, and whether no other MAC was learned there. */
export function portOf(forwarding: Buffer, mac: string): { port: number; isPrivate: boolean } | undefined {
  const wanted = mac.replaceAll(':', '');
  let found: number | undefined;
  const learned = new Map<number, number>();
  for (let at = 0; at + ENTRY_BYTES <= forwarding.length; at += ENTRY_BYTES) {
    const isLocal = forwarding[at + 7] !== 0;
    if (isLocal) continue;
    const port = (forwarding[at + 6] ?? 0) | ((forwarding[at + 12] ?? 0) << 8);
    learned.set(port, (learned.get(port) ?? 0) + 1);
    if (forwarding.toString('hex', at, at + 6) !== wanted) continue;
    // The same MAC on two ports (another VLAN, or on its way from one to the other) is no evidence.
    if (found !== undefined && found !== port) return undefined;
    found = port;
  }
  return found === undefined ? undefined : { port: found, isPrivate: learned.get(found) === 1 };
}
