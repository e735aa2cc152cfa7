import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { Clock } from '#runtime/clock.ts';

import type { CredentialSource } from './ports.ts';

export interface TokensOptions {
  readonly clock: Clock;
  readonly source: Pick<CredentialSource, 'knowsPods' | 'knownUid'>;
}

export interface IssuedToken {
  readonly token: string;
  /** How long it really lives: less than was asked for while the pod is not known. */
  readonly ttlSeconds: number;
}

/** Session tokens as IMDSv2 has them, bound to a pod. */
export interface Tokens {
  /** `ttlSeconds` is a whole number from 1 to 21600. */
  issue(address: string, ttlSeconds: number): IssuedToken;
  /** Whether this process issued the token to the pod that now has the address, and it has not ended. */
  verify(address: string, token: string): boolean;
}

/** A pod that is not known yet can be told apart from its address's next owner only by time. */
const UNKNOWN_POD_TTL_SECONDS = 60;

/** Whether the token is bound to a UID, and when it ends in milliseconds of the monotonic clock. */
const HEADER_BYTES = 1 + 6;
const MAC_BYTES = 32;
const TOKEN_LENGTH = Math.ceil(((HEADER_BYTES + MAC_BYTES) * 4) / 3);
const MOST_REMEMBERED = 10_000;

/**
 * Tokens that carry all that is needed to check them, so that issuing one keeps nothing and waits for nobody. The key is made
 * at start: tokens of an earlier process are refused, and SDKs then ask for another. Verified ones are remembered, because a
 * request must not cost an HMAC.
 */
export function createTokens({ clock, source }: TokensOptions): Tokens {
  const key = randomBytes(32);
  const verified = new LRUCache<string, number>({ max: MOST_REMEMBERED });

  const macOf = (header: Buffer, address: string, uid: string): Buffer =>
    createHmac('sha256', key)
      .update(header)
      .update(JSON.stringify([address, uid]))
      .digest();

  const endOf = (token: string, address: string, uid: string | undefined): number | undefined => {
    const bytes = Buffer.from(token, 'base64url');
    // The same bytes have other spellings, which nobody was given.
    if (bytes.length !== HEADER_BYTES + MAC_BYTES || bytes.toString('base64url') !== token) return undefined;
    const header = bytes.subarray(0, HEADER_BYTES);
    const isBound = header[0] === 1;
    if (isBound && uid === undefined) return undefined;
    const mac = macOf(header, address, isBound && uid !== undefined ? uid : '');
    return timingSafeEqual(mac, bytes.subarray(HEADER_BYTES)) ? header.readUIntBE(1, 6) : undefined;
  };

  return {
    issue: (address, ttlSeconds) => {
      const uid = source.knownUid(address);
      const isUnknown = source.knowsPods && uid === undefined;
      const lifeSeconds = isUnknown ? Math.min(ttlSeconds, UNKNOWN_POD_TTL_SECONDS) : ttlSeconds;
      const header = Buffer.alloc(HEADER_BYTES);
      header[0] = uid === undefined ? 0 : 1;
      header.writeUIntBE(Math.floor(clock.monotonic()) + lifeSeconds * 1000, 1, 6);
      const token = Buffer.concat([header, macOf(header, address, uid ?? '')]).toString('base64url');
      return { token, ttlSeconds: lifeSeconds };
    },
    verify: (address, token) => {
      if (token.length !== TOKEN_LENGTH) return false;
      const uid = source.knownUid(address);
      const name = `${token} ${address} ${uid ?? ''}`;
      const endMs = verified.get(name) ?? endOf(token, address, uid);
      if (endMs === undefined || clock.monotonic() >= endMs) return false;
      verified.set(name, endMs);
      return true;
    },
  };
}
