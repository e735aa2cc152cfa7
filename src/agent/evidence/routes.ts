import { isIPv6 } from 'node:net';

/** The device that an address is reached by without a gateway. */
export interface DirectRoute {
  readonly device: string;
  /** Whether the route is for this address alone and the device has no other route, but for link-local and multicast ones. */
  readonly isPrivate: boolean;
}

const UP = 0x1;
const GATEWAY = 0x2;
const REJECT = 0x200;

/** The routes of a node, as one look at its table showed them. */
export type Routes = (address: string) => DirectRoute | undefined;

interface Route4 {
  readonly device: string;
  readonly destination: number;
  readonly mask: number;
  readonly isDirect: boolean;
}

/**
 * Reads the text of /proc/net/route (Linux, net/ipv4/fib_trie.c, `fib_route_seq_show`). An address has the route of the longest
 * prefix; none where a gateway is in between or nothing matches. Total for any text.
 */
export function readRoutes4(table: string): Routes {
  const routes: Route4[] = [];
  const counts = new Map<string, number>();
  for (const line of table.split('\n')) {
    const [device = '', destination = '', , flagsText = '', , , , maskText = ''] = line.split('\t');
    if (!HEX_8.test(destination) || !HEX_8.test(maskText)) continue;
    const flags = Number.parseInt(flagsText, 16);
    if ((flags & UP) === 0) continue;
    counts.set(device, (counts.get(device) ?? 0) + 1);
    const isDirect = (flags & (GATEWAY | REJECT)) === 0;
    routes.push({ device, destination: hostOrder(destination), mask: hostOrder(maskText), isDirect });
  }
  return (address) => {
    const best = longestPrefix(routes, number4(address));
    if (best?.isDirect !== true) return undefined;
    return { device: best.device, isPrivate: best.mask === ALL_BITS && counts.get(best.device) === 1 };
  };
}

function longestPrefix(routes: readonly Route4[], wanted: number): Route4 | undefined {
  let best: Route4 | undefined;
  for (const route of routes) {
    if ((wanted & route.mask) >>> 0 !== route.destination) continue;
    if (best === undefined || route.mask > best.mask) best = route;
    // Two routes of one length, by metric or by table: which of them counts is not ours to guess.
    else if (route.mask === best.mask && route.device !== best.device) best = { ...best, device: '', isDirect: false };
  }
  return best;
}

const HEX_8 = /^[0-9A-F]{8}$/i;
const ALL_BITS = 0xffffffff;

function number4(address: string): number {
  return address.split('.').reduce((sum, part) => ((sum << 8) | Number(part)) >>> 0, 0);
}

/**
 * The kernel prints the bytes as they stand in its memory: the other way round on little-endian machines, which all of AWS's
 * are.
 */
function hostOrder(hex: string): number {
  const bytes = Number.parseInt(hex, 16);
  return (((bytes & 0xff) << 24) | ((bytes & 0xff00) << 8) | ((bytes >>> 8) & 0xff00) | (bytes >>> 24)) >>> 0;
}

const LOCAL_6 = 0x80000000;
const ANYCAST_6 = 0x00100000;

/** As {@link readRoutes4}, in the text of /proc/net/ipv6_route (Linux, net/ipv6/route.c), for routes to one address alone. */
export function findHostRoute6(table: string, address: string): DirectRoute | undefined {
  const wanted = hex6(address);
  if (wanted === undefined) return undefined;
  let found: string | undefined;
  const routes = new Map<string, number>();
  for (const line of table.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [destination = '', length = '', , , gateway = '', , , , flagsText = '', device = ''] = fields;
    if (!HEX_32.test(destination) || EVERYWHERE_6.test(destination)) continue;
    const flags = Number.parseInt(flagsText, 16);
    if ((flags & UP) === 0 || (flags & (LOCAL_6 | ANYCAST_6)) !== 0) continue;
    routes.set(device, (routes.get(device) ?? 0) + 1);
    if (destination !== wanted || length !== '80' || (flags & (GATEWAY | REJECT)) !== 0 || gateway !== ZERO_6) continue;
    if (found !== undefined && found !== device) return undefined;
    found = device;
  }
  return found === undefined ? undefined : { device: found, isPrivate: routes.get(found) === 1 };
}

/** Link-local and multicast: every device has such routes. */
const EVERYWHERE_6 = /^(?:fe80|ff)/;
const HEX_32 = /^[0-9a-f]{32}$/;
const ZERO_6 = '0'.repeat(32);

/** An IPv6 address as 32 hexadecimal digits. */
function hex6(address: string): string | undefined {
  if (!isIPv6(address) || address.includes('.')) return undefined;
  const [head = '', tail] = address.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const middle = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].map((group) => group.padStart(4, '0').toLowerCase()).join('');
}
