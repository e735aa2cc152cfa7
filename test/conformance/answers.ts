import type { World } from '#sandbox/world.ts';

import type { Answer } from '../support/cluster.ts';

import type { RecordedCase } from './recorded.ts';

/** An answer, as far as it is compared: who credentials are for stands in place of the credentials. */
export interface Compared {
  status: number;
  type: string;
  location: string;
  retryAfter: string;
  /** The time to live that a token's answer states; `''` without. */
  tokenTtl: string;
  body: string | Identity;
}

export interface Identity {
  readonly role: string;
  readonly session: string;
  lifeSeconds: number;
  readonly fields: readonly string[];
}

const SESSION_TOKEN = 'a session token';
const RECORDED_TOKEN = /^IMDS[0-9a-f-]{36}$/;
const OUR_TOKEN = /^[A-Za-z0-9_-]{40,}$/;

export function recordedAnswer({ response }: RecordedCase): Compared {
  const { status, headers, body } = response;
  return {
    status,
    type: headers['Content-Type'] ?? '',
    location: headers['Location'] ?? '',
    retryAfter: headers['Retry-After'] ?? '',
    tokenTtl: headers['X-Aws-Ec2-Metadata-Token-Ttl-Seconds'] ?? '',
    body: RECORDED_TOKEN.test(body) ? SESSION_TOKEN : (credentials(body, recordedIdentity) ?? body),
  };
}

/** `identityOf` tells whose credentials they are: {@link issuedBy} a sandbox's STS, or {@link recordedIdentity}. */
export function ourAnswer(identityOf: IdentityOf, { status, headers, body }: Answer): Compared {
  const header = (name: string): string => [headers[name] ?? []].flat().join();
  const tokenTtl = header('x-aws-ec2-metadata-token-ttl-seconds');
  return {
    status,
    type: header('content-type'),
    location: header('location'),
    retryAfter: header('retry-after'),
    tokenTtl,
    body: tokenTtl !== '' && OUR_TOKEN.test(body) ? SESSION_TOKEN : (credentials(body, identityOf) ?? body),
  };
}

type Fields = Readonly<Record<string, string>>;
export type IdentityOf = (fields: Fields) => { role: string; session: string };

/** Credentials of the metadata API, by what can be compared of them; undefined for any other text. */
function credentials(body: string, identityOf: IdentityOf): Identity | undefined {
  if (!body.startsWith('{"Code"') || !body.includes('AccessKeyId')) return undefined;
  const fields = JSON.parse(body) as Fields;
  const seconds = (name: string): number => {
    const text = fields[name] ?? '';
    // botocore parses this form and no other.
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) throw new Error(`${name} is ${text}`);
    return Date.parse(text) / 1000;
  };
  return {
    ...identityOf(fields),
    lifeSeconds: toTens(seconds('Expiration') - seconds('LastUpdated')),
    fields: Object.entries(fields).map(([name, value]) =>
      name === 'Code' || name === 'Type' ? `${name}=${value}` : name,
    ),
  };
}

/** Both times are cut to seconds, and the clocks of two programs lie between them. */
function toTens(seconds: number): number {
  return Math.round(seconds / 10) * 10;
}

/** The recorded stand-in of STS wrote into the token for whom it was. */
export function recordedIdentity(fields: Fields): { role: string; session: string } {
  const [, role = '', session = ''] = (fields['Token'] ?? '').split('|');
  return { role, session };
}

export function issuedBy(world: World): IdentityOf {
  return (fields) => {
    const identity = world.sts.identify(fields['AccessKeyId'] ?? '');
    if (identity?.roleArn === undefined) throw new Error('STS knows no such session');
    return { role: identity.roleArn, session: identity.sessionName };
  };
}
