import type { KeyObject, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

import { type CertificateSnapshot, parseCertificates } from './certificates.ts';

/** Which side of a connection a certificate is for: the agent's is a client. */
export type Side = 'client' | 'server';

/**
 * Decides at the end of a handshake whether the peer is one of ours. The peer's name is not looked at. `certificate` is what
 * `getPeerX509Certificate` returns, which a client may call but once (Node 24 takes it out of the chain).
 */
export type PeerCheck = (peer: TLSSocket, certificate: X509Certificate | undefined) => boolean;

/** anyExtendedKeyUsage (RFC 5280, section 4.2.1.12). */
const ANY = '2.5.29.37.0';
const USAGES: Readonly<Record<Side, string>> = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' };

/** What Node says of a peer whose certificate, or whose authority's, is for another usage. */
const WRONG_USAGE = 'INVALID_PURPOSE';

const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
const LEAST_RSA_BITS = 2048;

/**
 * Kiam's page on TLS has cert-manager issue the authority and the certificates with `usages: ["any"]`. Go takes that for every
 * usage, OpenSSL for none (https://github.com/openssl/openssl/issues/17959), so that each handshake would fail. Where our own
 * files are such, OpenSSL must not be the one to refuse a peer, and this decides. Undefined where OpenSSL decides.
 *
 * The error for the usage hides an earlier one: that nobody knows the issuer, or that the peer's key is weak. So these and the
 * usage are verified here, and only the plainest path is taken: a self-signed authority of our CA file has issued the peer's
 * certificate itself, and the usages of both allow what the peer does. Of what OpenSSL looks at later (dates, the strength of
 * signatures, constraints) nothing may be wrong: its error would be another. Hidden as well, and left to the authority that
 * signed it, is that a peer's certificate has an extension which nobody knows, or is an authority's.
 */
export function checkOfAnyUsage(snapshot: CertificateSnapshot, peerIs: Side): PeerCheck | undefined {
  const authorities = parseCertificates(snapshot.caPem) ?? [];
  const own = parseCertificates(snapshot.certificatePem)?.[0];
  if (![own, ...authorities].some((certificate) => usagesOf(certificate)?.includes(ANY))) return undefined;
  return (peer, certificate) => {
    // Of a session that is continued, OpenSSL says what it said then, or nothing.
    if (certificate === undefined || peer.isSessionReused()) return false;
    if (peer.authorized) return true;
    return String(peer.authorizationError) === WRONG_USAGE && isIssuedByOneOf(authorities, certificate, peerIs);
  };
}

/** The extended key usages of a certificate; undefined for one that is good for all, because it names none. */
export function usagesOf(certificate: X509Certificate | undefined): readonly string[] | undefined {
  return certificate?.keyUsage;
}

/** Whether a certificate may be shown by a side, by its extended key usages and Go's reading of them. */
export function mayBeShownBy(certificate: X509Certificate, side: Side): boolean {
  const usages = usagesOf(certificate);
  return usages === undefined || usages.includes(ANY) || usages.includes(USAGES[side]);
}

function isIssuedByOneOf(authorities: readonly X509Certificate[], peer: X509Certificate, side: Side): boolean {
  return authorities.some(
    (authority) =>
      authority.ca &&
      isIssuedBy(authority, authority) &&
      isIssuedBy(peer, authority) &&
      isStrong(peer.publicKey) &&
      [peer, authority].every((certificate) => mayBeShownBy(certificate, side)),
  );
}

/** Of what cert-manager issues keys of. OpenSSL has the same bound of RSA at its level 2, which is Node's. */
function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'rsa') return modulusLength >= LEAST_RSA_BITS;
  return asymmetricKeyType === 'ed25519' || (asymmetricKeyType === 'ec' && CURVES.includes(namedCurve));
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
