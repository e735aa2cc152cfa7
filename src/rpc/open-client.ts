import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';

import { type ChannelOptions, Client, credentials } from '@grpc/grpc-js';

import { formatListenAddress } from '#telemetry/listen-address.ts';

import type { CertificateSnapshot } from './certificates.ts';

export interface KeepaliveOptions {
  readonly timeMs: number;
  readonly timeoutMs: number;
  readonly permitWithoutStream: boolean;
}

export interface OpenClientOptions {
  /** An IP address without brackets. */
  readonly address: string;
  readonly port: number;
  /** `host:port` as it was given; sent to the server as the authority. */
  readonly authority: string;
  /** The name or the address that the certificate must have. */
  readonly serverName: string;
  readonly snapshot: CertificateSnapshot;
  readonly keepalive: KeepaliveOptions;
}

/** A client of one address under one certificate. It begins to connect when it is told to, or at its first call. */
export function openClient({ address, port, authority, serverName, snapshot, keepalive }: OpenClientOptions): Client {
  const { verification, options } = verifiedName(serverName);
  return new Client(
    `dns:///${formatListenAddress({ host: address, port })}`,
    credentials.createSsl(snapshot.caPem, snapshot.privateKeyPem, snapshot.certificatePem, verification),
    {
      ...options,
      'grpc.default_authority': authority,
      'grpc.keepalive_time_ms': keepalive.timeMs,
      'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
      'grpc.keepalive_permit_without_calls': keepalive.permitWithoutStream ? 1 : 0,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 5000,
      // Agents and servers see each other directly, whatever the environment says of proxies, as Kiam's do.
      'grpc.enable_http_proxy': 0,
      // Clients never share connections: a retired one must take its certificate with it.
      'grpc.use_local_subchannel_pool': 1,
    },
  );
}

/**
 * TLS has no place to name a host that is an IP address (RFC 6066, section 3), which grpc-js would do all the same: another
 * name stands there, and the certificate is held to the address.
 */
function verifiedName(name: string): {
  readonly verification: Parameters<typeof credentials.createSsl>[3];
  readonly options: ChannelOptions;
} {
  if (isIP(name) === 0) return { verification: {}, options: { 'grpc.ssl_target_name_override': name } };
  return {
    verification: { checkServerIdentity: (_name, certificate) => checkServerIdentity(name, certificate) },
    options: { 'grpc.ssl_target_name_override': 'kiam-server' },
  };
}
