import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';

import type { ChannelOptions, credentials } from '@grpc/grpc-js';

/**
 * The certificate must be the host's. TLS has no place to name a host that is an IP address (RFC 6066, section 3), which
 * grpc-js would do all the same: another name stands there, and the certificate is held to the address.
 */
export function verifiedName(
  serverAddress: string,
  /** Another name than the host's: for one address among a name's several. */
  serverName?: string,
): {
  readonly verification: Parameters<typeof credentials.createSsl>[3];
  readonly options: ChannelOptions;
} {
  const host = serverName ?? serverAddress.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '');
  if (isIP(host) === 0) {
    return {
      verification: {},
      options: serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName },
    };
  }
  return {
    verification: { checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) },
    options: { 'grpc.ssl_target_name_override': 'kiam-server' },
  };
}
