import { randomBytes } from 'node:crypto';
import type { Credentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';

export type SessionTags = readonly (readonly [key: string, value: string])[];

/** Who a set of keys belongs to. */
export interface CallerIdentity {
  readonly arn: string;
  readonly account: string;
  readonly userId: string;
  /** The role's own ARN for a role's session; undefined for a user. Sessions of a role are subject to the chaining limit. */
  readonly roleArn: string | undefined;
  /** `''` for a user. */
  readonly sessionName: string;
  readonly externalId: string;
  /** `''` for none. */
  readonly sourceIdentity: string;
  /** Its own and inherited ones. */
  readonly tags: SessionTags;
  /** Those of them that sessions made with this one inherit. */
  readonly transitiveTags: SessionTags;
}

export interface IssuedKey {
  readonly credentials: Credentials;
  readonly identity: CallerIdentity;
}

export interface SessionOfRole extends Partial<Pick<CallerIdentity, 'sourceIdentity' | 'tags' | 'transitiveTags'>> {
  readonly roleArn: string;
  readonly sessionName: string;
  readonly externalId: string;
  readonly lifetimeMs: number;
}

const UNTAGGED = { sourceIdentity: '', tags: [], transitiveTags: [] };

/** A user's key pair does not end. */
const FOR_EVER_MS = Date.UTC(9999, 0, 1);
/** Old keys are forgotten first; by then STS sessions of a long test have long ended. */
const MOST_KEYS = 200_000;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The keys that STS knows, and whose they are. */
export class Identities {
  readonly #keys = new Map<string, IssuedKey>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  find(accessKeyId: string): IssuedKey | undefined {
    return this.#keys.get(accessKeyId);
  }

  /** A user with keys that last (`AKIA…`). */
  user(arn: string): IssuedKey {
    const account = accountOf(arn);
    const nothing = { roleArn: undefined, sessionName: '', externalId: '', ...UNTAGGED };
    const identity = { arn, account, userId: `AIDA${base32(17)}`, ...nothing };
    return this.#keep(identity, 'AKIA', '', FOR_EVER_MS);
  }

  /** A session of a role, with keys that last `lifetimeMs` (`ASIA…`). */
  session(session: SessionOfRole): IssuedKey {
    const { roleArn, sessionName, externalId, lifetimeMs, ...attribution } = session;
    const partition = roleArn.split(':')[1] ?? 'aws';
    const account = accountOf(roleArn);
    const arn = `arn:${partition}:sts::${account}:assumed-role/${roleArn.slice(roleArn.lastIndexOf('/') + 1)}/${sessionName}`;
    const userId = `${roleId(roleArn)}:${sessionName}`;
    const identity = { arn, account, userId, roleArn, sessionName, externalId, ...UNTAGGED, ...attribution };
    const token = `${randomBytes(96).toString('base64')}${Buffer.from(arn).toString('base64')}`;
    return this.#keep(identity, 'ASIA', token, this.#clock.now() + lifetimeMs);
  }

  #keep(identity: CallerIdentity, prefix: string, sessionToken: string, expiresAtMs: number): IssuedKey {
    const credentials: Credentials = {
      accessKeyId: prefix + base32(16),
      secretAccessKey: randomBytes(30).toString('base64'),
      sessionToken,
      expiresAtMs,
      issuedAtMs: this.#clock.now(),
    };
    const key = { credentials, identity };
    this.#keys.set(credentials.accessKeyId, key);
    const oldest = this.#keys.keys().next();
    if (this.#keys.size > MOST_KEYS && oldest.done === false) this.#keys.delete(oldest.value);
    return key;
  }
}

function accountOf(arn: string): string {
  return arn.split(':')[4] ?? '';
}

/** The same role always has the same unique id. */
function roleId(roleArn: string): string {
  let id = 'AROA';
  const bytes = Buffer.from(roleArn.padStart(17, '/'));
  for (let index = 0; index < 17; index += 1) {
    let sum = index;
    for (let at = index; at < bytes.length; at += 17) sum = (sum * 31 + (bytes[at] ?? 0)) >>> 0;
    id += BASE32.charAt(sum % 32);
  }
  return id;
}

function base32(length: number): string {
  return Array.from(randomBytes(length), (byte) => BASE32.charAt(byte & 31)).join('');
}
