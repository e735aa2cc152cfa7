import { canonicalAddress, isLoopback } from '#domain/address.ts';

const METADATA_ADDRESSES: ReadonlySet<string | undefined> = new Set(['169.254.169.254', 'fd00:ec2::254']);

/** Those of EKS Pod Identity (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html). */
const CONTAINER_ADDRESSES: ReadonlySet<string | undefined> = new Set(['169.254.170.23', 'fd00:ec2::23']);

/** RFC 9110, 7.2: a host and perhaps a port. */
const HOST = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{0,5})?$/;

/**
 * Whether a request with this Host header, or this authority in its target, is meant for the metadata service: for its
 * address, or for the address of the node that the client has connected to. A name is refused even if it stands for
 * one of them: a web page can make a browser in the pod ask for credentials under a name whose address it changes afterwards
 * (DNS rebinding), and then read the answer. SDKs send the address that they connect to. Absent and empty are accepted:
 * HTTP/1.0 has no such header, and browsers always send it.
 */
export function isMetadataHost(host: string | undefined, connection: Connection): boolean {
  if (host === undefined || host === '' || host === '169.254.169.254') return true;
  return isHostOf(METADATA_ADDRESSES, host, connection);
}

/** The same for the endpoint of container credentials, but absent and empty are refused, as the agent of EKS does. */
export function isContainerHost(host: string | undefined, connection: Connection): boolean {
  return host === '169.254.170.23' || (host !== undefined && isHostOf(CONTAINER_ADDRESSES, host, connection));
}

interface Connection {
  readonly localAddress?: string;
}

function isHostOf(addresses: ReadonlySet<string | undefined>, host: string, connection: Connection): boolean {
  const parts = HOST.exec(host);
  const name = parts?.[1] ?? parts?.[2];
  if (name === undefined) return false;
  const local = canonicalAddress(connection.localAddress ?? '');
  // Pods cannot connect to the node's loopback, and no web page can be `localhost` to a browser but one from there.
  if (name === 'localhost') return local !== undefined && isLoopback(local);
  const address = canonicalAddress(name);
  return address !== undefined && (addresses.has(address) || address === local);
}
