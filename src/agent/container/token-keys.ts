import { createPublicKey, type KeyObject } from 'node:crypto';

/** The algorithms with which a Kubernetes API server signs ServiceAccounts' tokens (Kubernetes, `pkg/serviceaccount/jwt.go`). */
export type TokenAlgorithm = 'RS256' | 'ES256' | 'ES384' | 'ES512';

/** One key of the cluster. The algorithm is what the key is made for: a token has no say in it. */
export interface TokenKey {
  readonly algorithm: TokenAlgorithm;
  readonly key: KeyObject;
}

/** More keys than a cluster has at any moment of a rotation. */
const MOST_KEYS = 32;
const SHORTEST_RSA_BITS = 2048;

const CURVES: Readonly<Record<string, TokenAlgorithm>> = { 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' };

/**
 * Reads the keys of a JSON Web Key Set (RFC 7517) by their `kid`. A key of another kind, without a name, too short or made for
 * another use is left out. Empty where the text is no such set.
 */
export function readTokenKeys(jwks: string): ReadonlyMap<string, TokenKey> {
  const keys = new Map<string, TokenKey>();
  for (const jwk of listOf(jwks)) {
    const { kid, kty, crv, use, alg } = jwk;
    if (typeof kid !== 'string' || kid === '' || (use !== undefined && use !== 'sig')) continue;
    const algorithm = kty === 'RSA' ? 'RS256' : kty === 'EC' ? CURVES[String(crv)] : undefined;
    if (algorithm === undefined || (alg !== undefined && alg !== algorithm)) continue;
    const key = publicKeyOf(jwk);
    if (key === undefined || (key.asymmetricKeyDetails?.modulusLength ?? SHORTEST_RSA_BITS) < SHORTEST_RSA_BITS)
      continue;
    if (keys.size < MOST_KEYS) keys.set(kid, { algorithm, key });
  }
  return keys;
}

type JsonWebKey = Readonly<Record<string, unknown>>;

function listOf(jwks: string): readonly JsonWebKey[] {
  try {
    const set: unknown = JSON.parse(jwks);
    const keys = isRecord(set) ? set['keys'] : undefined;
    return Array.isArray(keys) ? keys.filter(isRecord) : [];
  } catch {
    return [];
  }
}

function publicKeyOf(jwk: JsonWebKey): KeyObject | undefined {
  const { kty, n, e, crv, x, y } = jwk;
  try {
    // By its public members alone: a private or a symmetric key is none.
    const members = Object.entries({ kty, n, e, crv, x, y }).filter(([, value]) => typeof value === 'string');
    return createPublicKey({ key: Object.fromEntries(members), format: 'jwk' });
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
