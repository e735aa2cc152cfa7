import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

import { mayBeShownBy, type Side, usagesOf } from '#rpc/any-usage.ts';
import {
  type CertificateFiles,
  type CertificateReading,
  type CertificateSnapshot,
  earliestEndMs,
  parseCertificates,
} from '#rpc/certificates.ts';

import { type Observation, ok, wrong } from './finding.ts';

export interface CertificatesOptions {
  readonly files: CertificateFiles;
  readonly reading: CertificateReading;
  readonly side: Side;
  readonly nowMs: number;
  /** The host that agents dial; undefined for the client's side and where it is not known. */
  readonly dialled?: string | undefined;
}

const SECRETS = { server: 'kiam-server-tls', client: 'kiam-agent-tls' } as const;
const RENEW = '`kiam pki --renew` makes new pairs of the same CA; both daemons start using them without a restart';
const ROTATE = '`kiam pki --rotate-ca` makes a new one in two steps that keep every connection';

/**
 * The PEM files of one side: whether they can be read, belong together, chain to the CA, are valid now and fit their purpose.
 */
export function checkCertificates(options: CertificatesOptions): Observation[] {
  const { files, reading, side } = options;
  if (reading.outcome === 'unreadable') {
    const fix = `give --cert, --key and --ca the paths at which the Secret ${SECRETS[side]} is mounted, readable for this user`;
    return [wrong(reading.reason, fix)];
  }
  if (reading.outcome === 'unusable') {
    return [wrong(reading.reason, `put certificate, key and CA of one issue into the Secret ${SECRETS[side]}`)];
  }
  const problems = [
    ...(reading.outcome === 'doubtful' ? [wrong(reading.reason, fixOfDoubt(reading))] : []),
    ...purposeProblems(options, reading.snapshot),
    ...expiryProblems(options, reading.snapshot),
  ];
  if (problems.length > 0) return problems;
  const until = new Date(reading.snapshot.expiresAtMs).toISOString();
  return [ok(`${files.certPath} has its key, was issued by ${files.caPath} and is valid until ${until}`)];
}

function fixOfDoubt({ reason, isForAuthority }: Extract<CertificateReading, { outcome: 'doubtful' }>): string {
  if (reason.includes('not valid before')) return 'set the clock of this node, or of the machine that issued it, right';
  if (reason.includes('has expired')) return isForAuthority ? ROTATE : RENEW;
  return 'both sides need the CA that issued the other side’s certificate: put it into ca.pem of both Secrets';
}

function purposeProblems({ files, side, dialled }: CertificatesOptions, snapshot: CertificateSnapshot): Observation[] {
  const leaf = new X509Certificate(snapshot.certificatePem);
  const problems: Observation[] = [];
  if (!mayBeShownBy(leaf, side)) {
    const usages = usagesOf(leaf)?.join(', ');
    const fix = `issue it with the extended key usage ${side}Auth; \`kiam pki\` does`;
    problems.push(wrong(`${files.certPath} is not for a ${side}: its extended key usage is ${usages}`, fix));
  }
  if (side === 'client') return problems;
  if (leaf.subjectAltName === undefined) {
    const fix = 'issue it for the names that agents dial: kiam-server, localhost, 127.0.0.1; `kiam pki` does';
    problems.push(wrong(`${files.certPath} has no name (subjectAltName), so that every agent refuses it`, fix));
  } else if (dialled !== undefined && !isFor(leaf, dialled)) {
    const fix = `issue it for ${dialled} as well, or have agents dial one of its names by --server-address`;
    problems.push(wrong(`${files.certPath} is not for ${dialled}, but for ${leaf.subjectAltName}`, fix));
  }
  return problems;
}

/** Whether a certificate is for a host's name or address. */
export function isFor(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
}

const WEEK_MS = 7 * 86_400_000;

/** The alert KiamCertificateExpiresSoon fires in the last week; pairs of a shorter life are renewed at a third of it. */
function expiryProblems({ files, nowMs }: CertificatesOptions, snapshot: CertificateSnapshot): Observation[] {
  const problems: Observation[] = [];
  const leaf = new X509Certificate(snapshot.certificatePem);
  const endMs = earliestEndMs(parseCertificates(snapshot.certificatePem) ?? [leaf]);
  const leftMs = endMs - nowMs;
  const lifeMs = endMs - leaf.validFromDate.getTime();
  if (leftMs > 0 && leftMs < Math.min(WEEK_MS, lifeMs / 3)) {
    const hours = Math.floor(leftMs / 3_600_000);
    problems.push(wrong(`${files.certPath} ends in ${hours} hours, at ${isoTime(endMs)}`, RENEW));
  }
  const authorityLeftMs = snapshot.expiresAtMs - nowMs;
  if (snapshot.expiresAtMs < endMs && authorityLeftMs > 0 && authorityLeftMs < WEEK_MS) {
    problems.push(wrong(`the CA in ${files.caPath} ends at ${isoTime(snapshot.expiresAtMs)}`, ROTATE));
  }
  return problems;
}

function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
