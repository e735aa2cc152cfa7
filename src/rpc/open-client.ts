import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, TLSSocket } from 'node:tls';

import { ChannelCredentials, type ChannelOptions, Client, credentials, type VerifyOptions } from '@grpc/grpc-js';

import { formatListenAddress } from '#telemetry/listen-address.ts';

import { checkOfAnyUsage } from './any-usage.ts';
import type { CertificateSnapshot } from './certificates.ts';

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

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
    credentialsOf(snapshot, serverName, verification),
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

function credentialsOf(
  snapshot: CertificateSnapshot,
  serverName: string,
  verification: VerifyOptions,
): ChannelCredentials {
  const { caPem, privateKeyPem, certificatePem } = snapshot;
  const isOurs = checkOfAnyUsage(snapshot, 'server');
  if (isOurs === undefined) return credentials.createSsl(caPem, privateKeyPem, certificatePem, verification);
  const unchecked = credentials.createSsl(caPem, privateKeyPem, certificatePem, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  return new CheckedCredentials(unchecked, (peer) => {
    const certificate = peer.getPeerX509Certificate();
    // In this order: Node's reading of a certificate with an unusual key can end the process.
    return isOurs(peer, certificate) && certificate !== undefined && isNamed(certificate, serverName);
  });
}

function isNamed(certificate: X509Certificate, serverName: string): boolean {
  return checkServerIdentity(serverName, certificate.toLegacyObject()) === undefined;
}

/** Credentials by which nothing is sent to a peer before a check of our own has accepted it. */
class CheckedCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #check: (peer: TLSSocket) => boolean;

  constructor(inner: ChannelCredentials, check: (peer: TLSSocket) => boolean) {
    super();
    this.#inner = inner;
    this.#check = check;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: Parameters<ChannelCredentials['_createSecureConnector']>): SecureConnector {
    const inner = this.#inner._createSecureConnector(...args);
    return {
      connect: async (socket) => {
        const connected = await inner.connect(socket);
        if (connected.socket instanceof TLSSocket && this.#check(connected.socket)) return connected;
        connected.socket.destroy();
        throw new Error('the server shows a certificate that is not trusted');
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }
}

/**
 * TLS has no place to name a host that is an IP address (RFC 6066, section 3), which grpc-js would do all the same: another
 * name stands there, and the certificate is held to the address.
 */
function verifiedName(name: string): {
  readonly verification: VerifyOptions;
  readonly options: ChannelOptions;
} {
  if (isIP(name) === 0) return { verification: {}, options: { 'grpc.ssl_target_name_override': name } };
  return {
    verification: { checkServerIdentity: (_name, certificate) => checkServerIdentity(name, certificate) },
    options: { 'grpc.ssl_target_name_override': 'kiam-server' },
  };
}
