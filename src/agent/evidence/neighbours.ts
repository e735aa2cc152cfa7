/** Who answered for an IPv4 address, in the text of /proc/net/arp. */
export interface Neighbour {
  readonly device: string;
  /** In lower case. */
  readonly mac: string;
}

const COMPLETE = 0x2;

/** Those of an address that the kernel has made sure of (Linux, net/ipv4/arp.c, `arp_format_neigh_entry`). */
export function neighboursOf(table: string, address: string): readonly Neighbour[] {
  const found: Neighbour[] = [];
  for (const line of table.split('\n')) {
    if (!line.startsWith(address)) continue;
    const [ip, , flags = '', mac = '', , device = ''] = line.trim().split(/\s+/);
    if (ip !== address || (Number.parseInt(flags, 16) & COMPLETE) === 0) continue;
    if (!/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac) || mac === '00:00:00:00:00:00') continue;
    found.push({ device, mac: mac.toLowerCase() });
  }
  return found;
}
