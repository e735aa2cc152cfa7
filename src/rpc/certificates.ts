import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { describeError } from '#runtime/errors.ts';

/** The PEM files of one side. */
export interface CertificateFiles {
  readonly certPath: string;
  readonly keyPath: string;
  readonly caPath: string;
}

/** A certificate, its key and the authorities to trust, verified to belong together. */
export interface CertificateSnapshot {
  readonly certificatePem: Buffer;
  readonly privateKeyPem: Buffer;
  readonly caPem: Buffer;
  /** In hexadecimal, of the leaf. */
  readonly serialNumber: string;
  /** The earliest end of validity in the chain, its authority included, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

export type CertificateReading =
  | { readonly outcome: 'good'; readonly snapshot: CertificateSnapshot }
  /** They belong together, but another side would refuse them now: outside their dates, or not of this authority. */
  | {
      readonly outcome: 'doubtful';
      readonly snapshot: CertificateSnapshot;
      readonly reason: string;
      /** Whether it is the authority alone that is outside its dates: no other pair of it would be better. */
      readonly isForAuthority: boolean;
    }
  | { readonly outcome: 'unusable'; readonly reason: string }
  | { readonly outcome: 'unreadable'; readonly reason: string };

/** Reads the three files and verifies them. A reason names the file and what is wrong with it; never a word of a key. */
export async function readCertificates(files: CertificateFiles, nowMs: number): Promise<CertificateReading> {
  const contents: Buffer[] = [];
  for (const path of [files.certPath, files.keyPath, files.caPath]) {
    try {
      contents.push(await readFile(path));
    } catch (error) {
      return { outcome: 'unreadable', reason: `${path}: ${describeError(error)}` };
    }
  }
  const [certificatePem, privateKeyPem, caPem] = contents;
  if (certificatePem === undefined || privateKeyPem === undefined || caPem === undefined) {
    return { outcome: 'unreadable', reason: 'a file could not be read' };
  }
  return verifyCertificates(files, { certificatePem, privateKeyPem, caPem }, nowMs);
}

function verifyCertificates(
  files: CertificateFiles,
  pem: Pick<CertificateSnapshot, 'certificatePem' | 'privateKeyPem' | 'caPem'>,
  nowMs: number,
): CertificateReading {
  const chain = parseCertificates(pem.certificatePem);
  const leaf = chain?.[0];
  if (chain === undefined || leaf === undefined) return unusable(files.certPath, 'holds no certificate in PEM form');
  const authorities = parseCertificates(pem.caPem);
  if (authorities === undefined) return unusable(files.caPath, 'holds no certificate in PEM form');
  const keyProblem = privateKeyProblem(pem.privateKeyPem, leaf);
  if (keyProblem !== undefined) return unusable(files.keyPath, keyProblem);

  const issuers = issuersOf(chain, authorities);
  const inForce = issuers.filter((authority) => dateProblem([authority], nowMs) === undefined);
  const expiresAtMs = earliestEndMs([...chain, ...(inForce.length > 0 ? inForce : issuers)]);
  const snapshot = { ...pem, serialNumber: leaf.serialNumber, expiresAtMs };
  const doubt = dateProblem(chain, nowMs) ?? (issuers.length === 0 ? NO_ISSUER : undefined);
  if (doubt !== undefined) {
    return { outcome: 'doubtful', snapshot, reason: `${files.certPath} ${doubt}`, isForAuthority: false };
  }
  const outOfDate = inForce.length > 0 ? undefined : dateProblem(issuers, nowMs);
  if (outOfDate === undefined) return { outcome: 'good', snapshot };
  const reason = `the CA in ${files.caPath} that issued ${files.certPath} ${outOfDate}`;
  return { outcome: 'doubtful', snapshot, reason, isForAuthority: true };
}

const NO_ISSUER = 'was not issued by any certificate of the CA file';

function unusable(path: string, reason: string): CertificateReading {
  return { outcome: 'unusable', reason: `${path} ${reason}` };
}

/** Every certificate of a PEM file, in its order; undefined when there is none, or one that cannot be read. */
export function parseCertificates(pem: Buffer): readonly X509Certificate[] | undefined {
  const blocks = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g);
  if (blocks === null) return undefined;
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return undefined;
  }
}

function privateKeyProblem(pem: Buffer, leaf: X509Certificate): string | undefined {
  try {
    return leaf.checkPrivateKey(createPrivateKey(pem)) ? undefined : 'is not the key of the certificate';
  } catch {
    return 'holds no usable private key in PEM form';
  }
}

function dateProblem(chain: readonly X509Certificate[], nowMs: number): string | undefined {
  for (const certificate of chain) {
    const { validFromDate, validToDate } = certificate;
    if (nowMs < validFromDate.getTime()) return `is not valid before ${validFromDate.toISOString()}`;
    if (nowMs >= validToDate.getTime()) return `has expired at ${validToDate.toISOString()}`;
  }
  return undefined;
}

/** The earliest end of validity, in milliseconds since the epoch. */
export function earliestEndMs(certificates: readonly X509Certificate[]): number {
  return Math.min(...certificates.map(({ validToDate }) => validToDate.getTime()));
}

/**
 * Follows the issuers from the leaf to the authorities that end the chain: several while an authority is renewed with its key,
 * none where the chain leads nowhere. A chain is at most as long as the certificates available.
 */
function issuersOf(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): readonly X509Certificate[] {
  let certificate = chain[0];
  for (let step = 0; certificate !== undefined && step <= chain.length; step += 1) {
    const subject: X509Certificate = certificate;
    const issuers = authorities.filter((authority) => isIssuedBy(subject, authority));
    if (issuers.length > 0) return issuers;
    certificate = chain.slice(1).find((issuer) => issuer !== subject && isIssuedBy(subject, issuer));
  }
  return [];
}

function isIssuedBy(subject: X509Certificate, issuer: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}
