import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';

import * as x509 from '@peculiar/x509';

import type { Pem } from './certificates.ts';

const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const HOUR_MS = 3_600_000;

export const ANY = '2.5.29.37.0';
export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

export interface Request {
  readonly usages?: readonly string[];
  readonly isAuthority?: boolean;
  /** From now, in milliseconds. */
  readonly endsInMs?: number;
  /** Whether it says what its key may do. */
  readonly hasKeyUsage?: boolean;
  readonly hash?: 'SHA-256' | 'SHA-1';
  /** Of an RSA key, which issues nothing; without it the key is ECDSA P-256. */
  readonly rsaBits?: number;
}

/** A certificate with its key, by which others can be issued, whether it is an authority's or not. */
export interface Issued extends Pem {
  issue(commonName: string, request?: Request): Promise<Issued>;
}

/**
 * An authority and certificates as cert-manager makes them by Kiam's page on TLS (uswitch/kiam, docs/TLS.md): all with
 * `usages: ["any"]`, unless a request says otherwise.
 */
export async function createPageAuthority(commonName = 'Kiam CA', request: Request = {}): Promise<Issued> {
  return issueBy(undefined, commonName, { isAuthority: true, ...request });
}

function rsaKey(modulusLength: number) {
  return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength, publicExponent: Uint8Array.of(1, 0, 1) } as const;
}

interface Signer {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

async function issueBy(signer: Signer | undefined, commonName: string, request: Request): Promise<Issued> {
  const {
    usages = [ANY],
    isAuthority = false,
    endsInMs = HOUR_MS,
    hasKeyUsage = true,
    hash = 'SHA-256',
    rsaBits,
  } = request;
  const keys = await webcrypto.subtle.generateKey(rsaBits === undefined ? KEY : rsaKey(rsaBits), true, [
    'sign',
    'verify',
  ]);
  const own: Signer = { name: `CN=${commonName}`, keys };
  const { publicKey } = (signer ?? own).keys;
  const flags = x509.KeyUsageFlags;
  const certificate = await x509.X509CertificateGenerator.create({
    subject: own.name,
    issuer: (signer ?? own).name,
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)).with(0, 1)).toString('hex'),
    notBefore: new Date(Date.now() + Math.min(endsInMs, 0) - HOUR_MS),
    notAfter: new Date(Date.now() + endsInMs),
    publicKey: keys.publicKey,
    signingKey: (signer ?? own).keys.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash },
    extensions: [
      new x509.BasicConstraintsExtension(isAuthority, undefined, true),
      ...(hasKeyUsage
        ? [new x509.KeyUsagesExtension(isAuthority ? flags.keyCertSign | flags.cRLSign : flags.digitalSignature, true)]
        : []),
      ...(usages.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usages])]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'dns', value: commonName.replaceAll(' ', '-') },
        { type: 'ip', value: '127.0.0.1' },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(publicKey),
    ],
  });
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    privateKeyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
    issue: (name, more = {}) => issueBy(own, name, more),
  };
}
