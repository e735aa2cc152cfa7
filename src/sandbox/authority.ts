import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { type Clock, systemClock } from '#runtime/clock.ts';
import {
  addressBytes,
  bits,
  boolean,
  context,
  identifier,
  integer,
  octets,
  sequence,
  setOf,
  time,
  utf8,
} from './der.ts';

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
  issue(request: CertificateRequest): KeyPairPem;
}

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
const ECDSA_WITH_SHA256 = sequence(identifier('1.2.840.10045.4.3.2'));
const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

/** A certificate authority that lives as long as its owner keeps it; its key never leaves it (profile: RFC 5280). */
export function createAuthority(options: { readonly commonName?: string; readonly clock?: Clock } = {}): Authority {
  const { commonName = 'kiam sandbox', clock = systemClock } = options;
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = nameOf(commonName, []);
  const write = (content: Omit<CertificateContent, 'issuer' | 'issuerKey' | 'issuerPublicKey'>): string =>
    certificate({ ...content, issuer: subject, issuerKey: keys.privateKey, issuerPublicKey: keys.publicKey });
  const yesterday = (): Date => new Date(clock.now() - 5 * MINUTE_MS);
  const nextYear = (): Date => new Date(clock.now() + YEAR_MS);
  return {
    certificatePem: write({
      subject,
      publicKey: keys.publicKey,
      notBefore: yesterday(),
      notAfter: new Date(clock.now() + 10 * YEAR_MS),
      extensions: authorityExtensions(),
    }),
    issue: (request) => {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const certificatePem = write({
        subject: nameOf(request.commonName, request.organizations ?? []),
        publicKey: own.publicKey,
        notBefore: request.notBefore ?? yesterday(),
        notAfter: request.notAfter ?? nextYear(),
        extensions: leafExtensions(request),
      });
      return { certificatePem, privateKeyPem: own.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
    },
  };
}

interface CertificateContent {
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly issuer: Buffer;
  readonly issuerKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

function certificate(content: CertificateContent): string {
  const extensions = [
    ...content.extensions,
    extension('2.5.29.14', false, octets(keyIdentifier(content.publicKey))),
    extension('2.5.29.35', false, sequence(context(0, keyIdentifier(content.issuerPublicKey), false))),
  ];
  const toBeSigned = sequence(
    context(0, integer(Buffer.of(2)), true),
    integer(serialNumber()),
    ECDSA_WITH_SHA256,
    content.issuer,
    sequence(time(content.notBefore), time(content.notAfter)),
    content.subject,
    content.publicKey.export({ type: 'spki', format: 'der' }),
    context(3, sequence(...extensions), true),
  );
  const whole = sequence(toBeSigned, ECDSA_WITH_SHA256, bits(sign('sha256', toBeSigned, content.issuerKey)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** 127 random bits, of which the highest is set: a positive number without leading zeros. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function nameOf(commonName: string, organizations: readonly string[]): Buffer {
  const attribute = (type: string, text: string): Buffer => setOf(sequence(identifier(type), utf8(text)));
  return sequence(...organizations.map((text) => attribute('2.5.4.10', text)), attribute('2.5.4.3', commonName));
}

function authorityExtensions(): Buffer[] {
  const certificatesAndLists = bits(Buffer.of(0b0000_0110), 1);
  return [extension('2.5.29.19', true, sequence(boolean(true))), extension('2.5.29.15', true, certificatesAndLists)];
}

function leafExtensions(request: CertificateRequest): Buffer[] {
  const { dnsNames = [], ipAddresses = [], usage } = request;
  const wrong = ipAddresses.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new RangeError(`'${wrong}' is not an IP address`);
  const names = [
    ...dnsNames.map((name) => context(2, Buffer.from(name, 'ascii'), false)),
    ...ipAddresses.map((address) => context(7, addressBytes(address), false)),
  ];
  const digitalSignature = bits(Buffer.of(0b1000_0000), 7);
  return [
    extension('2.5.29.15', true, digitalSignature),
    extension('2.5.29.37', false, sequence(identifier(USAGES[usage]))),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, sequence(...names))]),
  ];
}

function extension(type: string, critical: boolean, value: Buffer): Buffer {
  return sequence(identifier(type), ...(critical ? [boolean(true)] : []), octets(value));
}
