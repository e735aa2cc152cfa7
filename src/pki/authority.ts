import { createPrivateKey, createPublicKey, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

import { type Clock, systemClock } from '#runtime/clock.ts';

export interface KeyPairPem {
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly privateKeyPem: string;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** Kubernetes takes a client certificate's organizations for its groups. */
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly usage: 'server' | 'client' | 'both';
  /** Five minutes ago unless given. */
  readonly notBefore?: Date;
  /** A year from now unless given; it may lie in the past. */
  readonly notAfter?: Date;
}

export interface Authority {
  readonly certificatePem: string;
  /** Issues a certificate with a key of its own (ECDSA P-256). Serial numbers are random, so never the same twice. */
  issue(request: CertificateRequest): Promise<KeyPairPem>;
}

/** An authority whose key is available, so that it can be kept. */
export interface OwnedAuthority extends Authority {
  /** PKCS #8. */
  readonly privateKeyPem: string;
  /** The end of its own validity, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
const USAGES = { server: [serverAuth], client: [clientAuth], both: [serverAuth, clientAuth] };

/** Makes a certificate authority with a key of its own (profile: RFC 5280). It lives ten years unless told otherwise. */
export async function createAuthority(
  options: { readonly commonName?: string; readonly clock?: Clock; readonly notAfter?: Date } = {},
): Promise<OwnedAuthority> {
  const { commonName = 'kiam sandbox', clock = systemClock } = options;
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: nameOf(commonName, []),
    keys,
    serialNumber: serialNumber(),
    notBefore: justNow(clock),
    notAfter: options.notAfter ?? new Date(clock.now() + 10 * YEAR_MS),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const signer = { certificate, signingKey: keys.privateKey, publicKey: keys.publicKey };
  return ownedAuthority(signer, pemOfKey(keys.privateKey), clock);
}

export type AuthorityOpening =
  | { readonly ok: true; readonly authority: OwnedAuthority }
  /** Names what is wrong; never a word of the key. */
  | { readonly ok: false; readonly reason: string };

/** Takes an authority that exists into use: its certificate and its key (ECDSA P-256), which must belong together. */
export async function openAuthority(pair: KeyPairPem, clock: Clock = systemClock): Promise<AuthorityOpening> {
  const parsed = parseAuthority(pair);
  if (!parsed.ok) return parsed;
  const signer = {
    certificate: new x509.X509Certificate(Uint8Array.from(parsed.certificate.raw)),
    signingKey: await importKey('pkcs8', parsed.privateKey.export({ type: 'pkcs8', format: 'der' })),
    publicKey: await importKey('spki', createPublicKey(parsed.privateKey).export({ type: 'spki', format: 'der' })),
  };
  return { ok: true, authority: ownedAuthority(signer, pair.privateKeyPem, clock) };
}

type ParsedAuthority =
  | { readonly ok: true; readonly certificate: X509Certificate; readonly privateKey: KeyObject }
  | { readonly ok: false; readonly reason: string };

function parseAuthority({ certificatePem, privateKeyPem }: KeyPairPem): ParsedAuthority {
  const certificate = parsedOrNone(() => new X509Certificate(certificatePem));
  if (certificate === undefined) return { ok: false, reason: 'the CA file holds no certificate in PEM form' };
  if (!certificate.ca) return { ok: false, reason: 'the certificate in the CA file is not that of an authority' };
  const privateKey = parsedOrNone(() => createPrivateKey(privateKeyPem));
  if (privateKey === undefined) return { ok: false, reason: 'the CA key file holds no private key in PEM form' };
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    return { ok: false, reason: 'the key of the CA is not of the kind ECDSA P-256' };
  }
  if (!certificate.checkPrivateKey(privateKey)) return { ok: false, reason: 'the CA key is not the key of the CA' };
  return { ok: true, certificate, privateKey };
}

function parsedOrNone<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

function importKey(format: 'pkcs8' | 'spki', key: Buffer): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey(format, Uint8Array.from(key), KEY, true, [format === 'pkcs8' ? 'sign' : 'verify']);
}

interface Signer {
  readonly certificate: x509.X509Certificate;
  readonly signingKey: webcrypto.CryptoKey;
  readonly publicKey: webcrypto.CryptoKey;
}

function ownedAuthority(signer: Signer, privateKeyPem: string, clock: Clock): OwnedAuthority {
  return {
    certificatePem: pemOf(signer.certificate),
    privateKeyPem,
    expiresAtMs: signer.certificate.notAfter.getTime(),
    issue: async (request) => {
      const leafKeys = await generateKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        subject: nameOf(request.commonName, request.organizations ?? []),
        issuer: signer.certificate.subject,
        serialNumber: serialNumber(),
        notBefore: request.notBefore ?? justNow(clock),
        notAfter: request.notAfter ?? new Date(clock.now() + YEAR_MS),
        publicKey: leafKeys.publicKey,
        signingKey: signer.signingKey,
        signingAlgorithm: SIGNATURE,
        extensions: [
          ...leafExtensions(request),
          await x509.SubjectKeyIdentifierExtension.create(leafKeys.publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
        ],
      });
      return { certificatePem: pemOf(certificate), privateKeyPem: pemOfKey(leafKeys.privateKey) };
    },
  };
}

/** Clocks differ by some minutes: a certificate must be good by the one that is behind as well. */
function justNow(clock: Clock): Date {
  return new Date(clock.now() - 5 * MINUTE_MS);
}

function pemOfKey(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString();
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

function leafExtensions({ dnsNames = [], ipAddresses = [], usage }: CertificateRequest): x509.Extension[] {
  const wrong = ipAddresses.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new RangeError(`'${wrong}' is not an IP address`);
  const names = [
    ...dnsNames.map((value) => ({ type: 'dns', value }) as const),
    ...ipAddresses.map((value) => ({ type: 'ip', value }) as const),
  ];
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(USAGES[usage]),
    ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
  ];
}

/** 127 random bits, of which the highest is set: a positive number without leading zeros. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function nameOf(commonName: string, organizations: readonly string[]): x509.Name {
  return new x509.Name([...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }]);
}
