import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';

import { checkOfAnyUsage } from '#rpc/any-usage.ts';
import type { CertificateSnapshot } from '#rpc/certificates.ts';

import { isFor } from './certificates.ts';

export interface HandshakeOptions {
  readonly address: string;
  readonly port: number;
  /** The name, or the address, that the other's certificate must have. */
  readonly serverName: string;
  readonly snapshot: CertificateSnapshot;
  readonly limitMs: number;
}

export type Handshake =
  | { readonly ok: true }
  /** `says` completes a sentence that begins with the address. */
  | { readonly ok: false; readonly says: string; readonly fix: string };

/** Connects by TLS and says what exactly is wrong with the connection or with the other side's certificate. Never rejects. */
export function shakeHands({ address, port, serverName, snapshot, limitMs }: HandshakeOptions): Promise<Handshake> {
  return new Promise((resolve) => {
    const socket = connect({
      host: address,
      port,
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
      ca: snapshot.caPem,
      cert: snapshot.certificatePem,
      key: snapshot.privateKeyPem,
      ALPNProtocols: ['h2'],
      // Issuer and names are judged below, so that the report can say what is wrong with them.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const finish = (result: Handshake): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(limitMs, () =>
      finish({ ok: false, says: `does not answer within ${limitMs} ms`, fix: FIX_THE_WAY }),
    );
    socket.on('error', (error: NodeJS.ErrnoException) => finish(explainError(error)));
    const isOurs = checkOfAnyUsage(snapshot, 'server');
    socket.on('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      const isTrusted = isOurs === undefined ? socket.authorized : isOurs(socket, certificate);
      finish(judge(socket, serverName, { certificate, isTrusted }));
    });
  });
}

const FIX_THE_WAY =
  'security groups and firewalls must let nodes reach this port of the server’s node; does its pod run?';

function explainError(error: NodeJS.ErrnoException): Handshake {
  const { code = '', message } = error;
  if (code === 'ECONNREFUSED') {
    const fix =
      'is this the port of the server’s --bind? does the server run (`kubectl -n kube-system get pods -l app=kiam`)?';
    return { ok: false, says: 'is reached, and nothing listens there (ECONNREFUSED)', fix };
  }
  if (/^(?:EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT|EACCES|EPERM)$/.test(code)) {
    return { ok: false, says: `cannot be reached: ${code}`, fix: FIX_THE_WAY };
  }
  const fix =
    'is this a kiam server, and do both sides have certificates of one CA? the server’s log has the other half';
  return { ok: false, says: `does not finish the TLS handshake: ${code === '' ? message : code}`, fix };
}

interface Shown {
  readonly certificate: X509Certificate | undefined;
  readonly isTrusted: boolean;
}

function judge(socket: TLSSocket, serverName: string, { certificate, isTrusted }: Shown): Handshake {
  if (certificate === undefined) return { ok: false, says: 'shows no certificate', fix: 'is this a kiam server?' };
  if (!isTrusted) {
    const reason = String(socket.authorizationError);
    const fix = reason.includes('EXPIRED')
      ? 'renew the server’s certificate: `kiam pki --renew`'
      : 'give the agent’s --ca the CA that issued the server’s certificate';
    return { ok: false, says: `shows a certificate that is not trusted: ${reason}`, fix };
  }
  if (!isFor(certificate, serverName)) {
    const names = certificate.subjectAltName ?? 'no name at all';
    const fix = `issue the server’s certificate for ${serverName}, or dial one of its names by --server-address`;
    return { ok: false, says: `shows a certificate that is not for ${serverName}, but for ${names}`, fix };
  }
  return { ok: true };
}
