import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { JsonObject } from '../json.ts';

/** For whom a token is, and until when. */
export interface SignedToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Default: that of none. */
  readonly serviceAccountUid?: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly nodeName: string;
  readonly audience: string;
  /** In seconds since the epoch. */
  readonly issuedAt: number;
  readonly expires: number;
}

/** Signs tokens as the API server does, which lists its public keys for whoever verifies them. */
export interface TokenSigner {
  readonly issuer: string;
  sign(token: SignedToken): string;
  /** Signs with another key from now on; the one before stays listed. */
  rotate(): void;
  /** What is served at a path of the issuer's discovery; undefined for another path. */
  document(path: string): JsonObject | undefined;
}

interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly jwk: JsonObject;
}

export function createTokenSigner(issuer = 'https://kubernetes.default.svc.cluster.local'): TokenSigner {
  let keys = [createKey()];
  const newest = (): SigningKey => keys.at(-1) ?? createKey();
  return {
    issuer,
    rotate: () => {
      keys = [newest(), createKey()];
    },
    sign: (token) => signWith(newest(), payloadOf(issuer, token)),
    document: (path) => {
      if (path === '/openid/v1/jwks') return { keys: keys.map(({ jwk }) => jwk) };
      if (path !== '/.well-known/openid-configuration') return undefined;
      return { issuer, jwks_uri: `${issuer}/openid/v1/jwks`, id_token_signing_alg_values_supported: ['RS256'] };
    },
  };
}

/** https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ */
function payloadOf(issuer: string, token: SignedToken): JsonObject {
  const { namespace, serviceAccount, serviceAccountUid = `uid-of-${serviceAccount}`, pod, nodeName } = token;
  const { audience, issuedAt, expires } = token;
  return {
    aud: [audience],
    exp: expires,
    iat: issuedAt,
    iss: issuer,
    'kubernetes.io': {
      namespace,
      node: { name: nodeName },
      pod: { name: pod.name, uid: pod.uid },
      serviceaccount: { name: serviceAccount, uid: serviceAccountUid },
    },
    nbf: issuedAt,
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
  };
}

function signWith({ kid, privateKey }: SigningKey, payload: JsonObject): string {
  const encode = (value: JsonObject): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'RS256', kid })}.${encode(payload)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

/** Named as the API server names it (Kubernetes, `pkg/serviceaccount/jwt.go`, keyIDFromPublicKey). */
function createKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url');
  const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
  return { kid, privateKey, jwk: { use: 'sig', kty: 'RSA', kid, alg: 'RS256', n, e } };
}
