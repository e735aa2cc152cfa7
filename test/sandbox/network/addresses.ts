/** The addresses of the stand-in world, all from the range for benchmarks (RFC 2544) and from a private IPv6 prefix. */
export const NODE_ADDRESS = '198.18.0.1';
export const NODE_ADDRESS_6 = 'fd00:198:18::1';

/** Where the stand-ins for STS and whatever else a pod calls may listen, in the metadata namespace. */
export const WORLD_ADDRESS = '198.18.0.10';
export const WORLD_ADDRESS_6 = 'fd00:198:18::10';

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html */
export const METADATA_ADDRESS = '169.254.169.254';
export const METADATA_ADDRESS_6 = 'fd00:ec2::254';

/** The first three numbers of pod addresses; the bridge has the first address. */
export const POD_SUBNET = '198.18.1';
export const POD_SUBNET_6 = 'fd00:198:18:1';

/** Whether an address is one that a pod may have: `198.18.1.2` to `198.18.1.254`. */
export function isPodAddress(address: string): boolean {
  const last = /^198\.18\.1\.(\d{1,3})$/.exec(address)?.[1];
  return last !== undefined && String(Number(last)) === last && Number(last) >= 2 && Number(last) <= 254;
}

/** The IPv6 address of the pod with an IPv4 address: the same last number. */
export function podAddress6(address: string): string {
  return `${POD_SUBNET_6}::${lastNumber(address).toString(16)}`;
}

/** The MAC that bridge plugins derive from an address: `0a:58` and its four bytes. It comes back with the address. */
export function macOfAddress(address: string): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `0a:58:${bytes.join(':')}`;
}

function lastNumber(address: string): number {
  return Number(address.slice(address.lastIndexOf('.') + 1));
}
