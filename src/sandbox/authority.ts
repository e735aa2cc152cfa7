import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
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
  readonly usage: 'server' | 'client';
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

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const USAGES = { server: x509.ExtendedKeyUsage.serverAuth, client: x509.ExtendedKeyUsage.clientAuth } as const;

/** A certificate authority that lives as long as its owner keeps it; its key never leaves it (profile: RFC 5280). */
export async function createAuthority(
  options: { readonly commonName?: string; readonly clock?: Clock } = {},
): Promise<Authority> {
  const { commonName = 'kiam sandbox', clock = systemClock } = options;
  const keys = await generateKeys();
  const justNow = (): Date => new Date(clock.now() - 5 * MINUTE_MS);
  const own = await x509.X509CertificateGenerator.createSelfSigned({
    name: nameOf(commonName, []),
    keys,
    serialNumber: serialNumber(),
    notBefore: justNow(),
    notAfter: new Date(clock.now() + 10 * YEAR_MS),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificatePem: pemOf(own),
    issue: async (request) => {
      const leafKeys = await generateKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        subject: nameOf(request.commonName, request.organizations ?? []),
        issuer: own.subject,
        serialNumber: serialNumber(),
        notBefore: request.notBefore ?? justNow(),
        notAfter: request.notAfter ?? new Date(clock.now() + YEAR_MS),
        publicKey: leafKeys.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: SIGNATURE,
        extensions: [
          ...leafExtensions(request),
          await x509.SubjectKeyIdentifierExtension.create(leafKeys.publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
        ],
      });
      const privateKeyPem = KeyObject.from(leafKeys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
      return { certificatePem: pemOf(certificate), privateKeyPem };
    },
  };
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
    new x509.ExtendedKeyUsageExtension([USAGES[usage]]),
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
