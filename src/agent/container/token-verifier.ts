import { createHash, verify } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { TokenAuthority } from '#rpc/contract.ts';

import { readTokenKeys, type TokenAlgorithm, type TokenKey } from './token-keys.ts';

/** For which pod a token was made, as the cluster's API server signed it. */
export interface PodClaims {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  /** The pod's node; `''` from API servers before Kubernetes 1.30, which do not name it. */
  readonly nodeName: string;
  /** In seconds since the epoch. */
  readonly notBefore: number;
  readonly expires: number;
}

/** Why a token counts for nothing. `keys` and `unknown-key` may be over in a moment; the others stay. */
export type TokenRefusal =
  | 'keys'
  | 'empty'
  | 'unreadable'
  | 'unknown-key'
  | 'signature'
  | 'issuer'
  | 'audience'
  | 'expired'
  | 'early'
  | 'no-pod';

export type TokenVerdict =
  | { readonly ok: true; readonly claims: PodClaims }
  | { readonly ok: false; readonly reason: TokenRefusal };

export interface TokenVerifierOptions {
  /** The cluster's keys and issuer as the server told them last; undefined before that. */
  readonly authority: () => TokenAuthority | undefined;
  /** The audience that a token must be for. */
  readonly audience: string;
  /** The wall clock, in milliseconds. */
  readonly now: () => number;
}

export interface TokenVerifier {
  /** The claims of a token that was found good before and still is. Costs one hash. */
  known(token: string): PodClaims | undefined;
  /** Verifies a token by the cluster's keys. */
  verify(token: string): TokenVerdict;
}

/** Longer texts are no tokens. */
const LONGEST_TOKEN = 16_384;

/** Of a node's pods, two each while the kubelet replaces them. */
const MOST_KNOWN = 2048;

/** Clocks of nodes differ: a token that is a little early is no danger, and one that has expired gets no delay. */
const EARLY_SECONDS = 60;

const PART = /^[A-Za-z0-9_-]+$/;

const HASHES: Readonly<Record<TokenAlgorithm, string>> = {
  RS256: 'sha256',
  ES256: 'sha256',
  ES384: 'sha384',
  ES512: 'sha512',
};

/**
 * Verifies projected tokens of ServiceAccounts: compact JSON Web Signatures (RFC 7515) with the claims of
 * https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ ("Schema for service account private
 * claims"). What was found good is remembered by its hash, for as long as it is good and the keys stay. Never throws.
 */
export function createTokenVerifier({ authority, audience, now }: TokenVerifierOptions): TokenVerifier {
  const good = new LRUCache<string, PodClaims>({ max: MOST_KNOWN });
  let present: TokenAuthority | undefined;
  let keys: ReadonlyMap<string, TokenKey> = new Map();
  const refresh = (): TokenAuthority | undefined => {
    const told = authority();
    if (told === present) return told;
    if (told?.issuer !== present?.issuer || told?.jwks !== present?.jwks) {
      good.clear();
      keys = readTokenKeys(told?.jwks ?? '');
    }
    present = told;
    return told;
  };
  return {
    known: (token) => {
      refresh();
      const claims = token.length > LONGEST_TOKEN ? undefined : good.get(hashOf(token));
      return claims !== undefined && timeRefusal(claims, now()) === undefined ? claims : undefined;
    },
    verify: (token) => {
      const told = refresh();
      if (token === '') return refused('empty');
      if (told === undefined || keys.size === 0) return refused('keys');
      const parts = partsOf(token);
      const times = parts && timesOf(parts.payload);
      if (parts === undefined || times === undefined) return refused('unreadable');
      // A token that will never be good is told from one that may be once a new key is known.
      const problem = timeRefusal(times, now()) ?? signatureProblem(parts, keys);
      if (problem !== undefined) return refused(problem);
      const claims = claimsOf(parts.payload, times, { issuer: told.issuer, audience });
      if (typeof claims === 'string') return refused(claims);
      good.set(hashOf(token), claims);
      return { ok: true, claims };
    },
  };
}

function refused(reason: TokenRefusal): TokenVerdict {
  return { ok: false, reason };
}

/** The token itself is not kept. */
function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

interface Parts {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly signed: string;
  readonly signature: string;
}

/** A token taken apart; undefined where it is no token that the API server makes. Nothing of it is proven. */
function partsOf(token: string): Parts | undefined {
  if (token.length > LONGEST_TOKEN) return undefined;
  const [head = '', body = '', signature = '', ...rest] = token.split('.', 4);
  if (rest.length > 0 || ![head, body, signature].every((part) => PART.test(part))) return undefined;
  const [header, payload] = [decode(head), decode(body)];
  // An extension that must be understood is not (RFC 7515, 4.1.11).
  if (header === undefined || payload === undefined || 'crit' in header) return undefined;
  if (typeof header['alg'] !== 'string' || !Object.hasOwn(HASHES, header['alg'])) return undefined;
  return { header, payload, signed: `${head}.${body}`, signature };
}

/** What is wrong with a signature; undefined where it is that of a key which the cluster has. */
function signatureProblem(
  { header: { kid, alg }, signed, signature }: Parts,
  keys: ReadonlyMap<string, TokenKey>,
): TokenRefusal | undefined {
  const found = typeof kid === 'string' ? keys.get(kid) : undefined;
  if (found === undefined) return 'unknown-key';
  if (alg !== found.algorithm) return 'signature';
  const key = { key: found.key, dsaEncoding: 'ieee-p1363' } as const;
  const isGood = verify(HASHES[found.algorithm], Buffer.from(signed), key, Buffer.from(signature, 'base64url'));
  return isGood ? undefined : 'signature';
}

/** A part as the JSON object that it is; undefined where it is none. */
function decode(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

type Times = Pick<PodClaims, 'notBefore' | 'expires'>;

function timesOf(payload: object): Times | undefined {
  const expires = own(payload, 'exp');
  const given = own(payload, 'nbf');
  const notBefore = given === undefined ? 0 : given;
  return typeof expires === 'number' && typeof notBefore === 'number' ? { notBefore, expires } : undefined;
}

function claimsOf(
  payload: object,
  times: Times,
  wanted: { issuer: string; audience: string },
): PodClaims | TokenRefusal {
  if (own(payload, 'iss') !== wanted.issuer || wanted.issuer === '') return 'issuer';
  const audiences: unknown = own(payload, 'aud');
  const isForUs = Array.isArray(audiences) ? audiences.includes(wanted.audience) : audiences === wanted.audience;
  if (!isForUs) return 'audience';
  const kubernetes = own(payload, 'kubernetes.io');
  const pod = own(kubernetes, 'pod');
  const uid = text(pod, 'uid');
  const name = text(pod, 'name');
  const namespace = text(kubernetes, 'namespace');
  const account = own(kubernetes, 'serviceaccount');
  const serviceAccount = text(account, 'name');
  const serviceAccountUid = text(account, 'uid');
  // A token of a ServiceAccount as such, or of another object: whoever has it need be no pod.
  if ([uid, name, namespace, serviceAccount, serviceAccountUid].includes('')) return 'no-pod';
  if (own(payload, 'sub') !== `system:serviceaccount:${namespace}:${serviceAccount}`) return 'no-pod';
  const nodeName = text(own(kubernetes, 'node'), 'name');
  return { uid, name, namespace, serviceAccount, serviceAccountUid, nodeName, ...times };
}

function timeRefusal({ notBefore, expires }: Times, nowMs: number): 'expired' | 'early' | undefined {
  const seconds = nowMs / 1000;
  if (!(seconds < expires)) return 'expired';
  return seconds + EARLY_SECONDS < notBefore ? 'early' : undefined;
}

/** A field that the value itself has; undefined where there is none. */
function own(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function text(value: unknown, name: string): string {
  const found = own(value, name);
  return typeof found === 'string' ? found : '';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
