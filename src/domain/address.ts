import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net';

const IPV4_MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * The one spelling under which an IP address is looked up: IPv4 dotted, IPv6 compressed and in lower case, an
 * IPv4-mapped IPv6 address as the IPv4 address that it stands for. Undefined when the text is no address.
 */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const mapped = IPV4_MAPPED.exec(text)?.[1];
  if (mapped !== undefined) return isIPv4(mapped) ? mapped : undefined;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const canonical = new SocketAddress({ address: text, family: 'ipv6' }).address;
  const mappedAgain = IPV4_MAPPED.exec(canonical)?.[1];
  return mappedAgain ?? canonical;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an address in canonical form is one that only this machine can use. */
export function isLoopback(address: string): boolean {
  return LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}
