import { BlockList, isIPv6 } from 'node:net';

import { canonicalAddress, isLoopback } from '#domain/address.ts';

/** Where redirected connections go: one address of the node per family, at least one. */
export interface HostAddresses {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
}

export type HostAddressesResult =
  | { readonly ok: true; readonly addresses: HostAddresses }
  | { readonly ok: false; readonly reason: string };

/**
 * Reads the value of `--host`: one address or a list with commas, as `status.podIPs` gives it through the downward API
 * (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/).
 */
export function parseHostAddresses(text: string): HostAddressesResult {
  let ipv4: string | undefined;
  let ipv6: string | undefined;
  for (const part of text.split(',').map((item) => item.trim())) {
    const address = canonicalAddress(part);
    if (address === undefined) return refuse(`"${part.slice(0, 64)}" is not an IP address`);
    const problem = unusable(address);
    if (problem !== undefined) return refuse(`${address} ${problem}`);
    if ((isIPv6(address) ? ipv6 : ipv4) !== undefined) return refuse('there are two addresses of one family');
    if (isIPv6(address)) ipv6 = address;
    else ipv4 = address;
  }
  return { ok: true, addresses: { ipv4, ipv6 } };
}

/**
 * Why connections cannot be sent to an address; undefined when they can. The kernel drops what is redirected to a
 * loopback address unless `route_localnet` is set, and setting it would open the node's loopback services to its pods.
 */
function unusable(address: string): string | undefined {
  if (isLoopback(address)) return 'is a loopback address, to which the kernel redirects nothing';
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  return UNUSABLE.check(address, family) ? 'is not an address of a node' : undefined;
}

const UNUSABLE = new BlockList();
UNUSABLE.addSubnet('0.0.0.0', 8, 'ipv4');
UNUSABLE.addSubnet('169.254.0.0', 16, 'ipv4');
UNUSABLE.addSubnet('224.0.0.0', 3, 'ipv4');
UNUSABLE.addAddress('::', 'ipv6');
UNUSABLE.addAddress('fd00:ec2::254', 'ipv6');
UNUSABLE.addSubnet('fe80::', 10, 'ipv6');
UNUSABLE.addSubnet('ff00::', 8, 'ipv6');

function refuse(reason: string): HostAddressesResult {
  return { ok: false, reason };
}
