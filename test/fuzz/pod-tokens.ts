import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

import fc from 'fast-check';

import { createTokenVerifier } from '#agent/container/token-verifier.ts';

import { within } from './within.ts';

const NOW_MS = Date.UTC(2026, 10, 28, 12);
const NOW = NOW_MS / 1000;
const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const AUDIENCE = 'pods.eks.amazonaws.com';

/** What one token may cost, of the processor, in milliseconds. */
const VERIFY_MS = 50;

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const others = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};
const jwks = JSON.stringify({
  keys: [
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa', use: 'sig', alg: 'RS256' },
    { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec', use: 'sig', alg: 'ES256' },
  ],
});
const authority = { issuer: ISSUER, jwks };
const verifier = createTokenVerifier({ authority: () => authority, audience: AUDIENCE, now: () => NOW_MS });

type Fields = Readonly<Record<string, unknown>>;

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

const payload = (changes: Fields = {}): Fields => ({
  aud: [AUDIENCE],
  exp: NOW + 3600,
  iat: NOW - 60,
  nbf: NOW - 60,
  iss: ISSUER,
  sub: 'system:serviceaccount:team:app',
  'kubernetes.io': {
    namespace: 'team',
    node: { name: 'node-1', uid: 'node-uid' },
    pod: { name: 'app', uid: 'pod-uid' },
    serviceaccount: { name: 'app', uid: 'account-uid' },
  },
  ...changes,
});

function signed(
  header: Fields,
  body: unknown,
  key: KeyObject = header['kid'] === 'ec' ? ec.privateKey : rsa.privateKey,
) {
  const text = `${encode(header)}.${encode(body)}`;
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

const RSA = { alg: 'RS256', kid: 'rsa' };
const EC = { alg: 'ES256', kid: 'ec' };

/** Tokens that the cluster signed for this pod: the check itself must be able to fail. */
assert.equal(verifier.verify(signed(RSA, payload())).ok, true);
assert.equal(verifier.verify(signed(EC, payload())).ok, true);

const header = fc.constantFrom(RSA, EC);
const scrap = fc.oneof(fc.string(), fc.integer(), fc.constantFrom(null, true, [], {}, '', [[]], { pod: {} }));

/** Headers that ask for another way to verify, or none. */
const otherHeader = fc.oneof(
  fc
    .constantFrom(
      'none',
      'None',
      'NONE',
      '',
      'HS256',
      'HS384',
      'PS256',
      'RS384',
      'RS512',
      'ES384',
      'ES512',
      'EdDSA',
      1,
      null,
    )
    .chain((alg) => fc.constantFrom('rsa', 'ec').map((kid) => ({ alg, kid }))),
  fc.constantFrom({ alg: 'ES256', kid: 'rsa' }, { alg: 'RS256', kid: 'ec' }, { alg: 'RS256' }, {}, [], null, 'RS256'),
  scrap.map((kid) => ({ alg: 'RS256', kid })),
  fc.constantFrom('__proto__', 'constructor', '../rsa', 'RSA').map((kid) => ({ alg: 'RS256', kid })),
  header.map((good) => ({ ...good, crit: ['b64'], b64: false })),
  fc.constant({ alg: 'RS256', jwk: others.rsa.publicKey.export({ format: 'jwk' }), kid: 'other' }),
);

/** What the cluster signs for others, or signed for another time. */
const otherClaims: fc.Arbitrary<Fields> = fc.oneof(
  fc
    .oneof(
      fc.string(),
      fc.constantFrom([], ['sts.amazonaws.com'], `${AUDIENCE}.`, [[AUDIENCE]], null, { [AUDIENCE]: 1 }),
    )
    .map((aud) => ({ aud })),
  fc.oneof(fc.string(), fc.constantFrom(`${ISSUER}/`, 'https://other', [ISSUER], null)).map((iss) => ({ iss })),
  fc.integer({ min: -1_000_000, max: 0 }).map((seconds) => ({ exp: NOW + seconds })),
  fc.constantFrom(undefined, null, '9999999999', [NOW + 60], true).map((exp) => ({ exp })),
  fc.integer({ min: 61, max: 1_000_000 }).map((seconds) => ({ nbf: NOW + seconds })),
  fc.constantFrom(null, 'soon', [0]).map((nbf) => ({ nbf })),
  scrap.map((claims) => ({ 'kubernetes.io': claims })),
  fc.constantFrom('pod', 'namespace', 'serviceaccount').chain((missing) =>
    scrap.map((instead) => {
      const claims = payload()['kubernetes.io'];
      const value = missing === 'namespace' && typeof instead === 'string' ? null : instead;
      return { 'kubernetes.io': { ...Object(claims), [missing]: value } };
    }),
  ),
  scrap.map((sub) => ({ sub })),
);

const nested = fc.integer({ min: 1, max: 12_000 }).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`);

const forged: fc.Arbitrary<string> = fc.oneof(
  // Not signed, or signed by something else.
  otherHeader.map((head) => `${encode(head)}.${encode(payload())}.`),
  otherHeader.map((head) => signed(Object(head), payload())),
  header.map((head) => {
    const text = `${encode({ ...head, alg: 'HS256' })}.${encode(payload())}`;
    const secret = rsa.publicKey.export({ type: 'spki', format: 'pem' });
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  }),
  fc.constant(null).map(() => signed(RSA, payload(), others.rsa.privateKey)),
  fc.constant(null).map(() => signed(EC, payload(), others.ec.privateKey)),
  // Signed for something else.
  fc.tuple(header, otherClaims).map(([head, claims]) => signed(head, payload(claims))),
  fc.tuple(header, scrap).map(([head, body]) => signed(head, body)),
  // Changed after it was signed.
  fc.tuple(header, fc.string()).map(([head, uid]) => {
    const [first = '', , last = ''] = signed(head, payload()).split('.');
    const claims = { ...Object(payload()['kubernetes.io']), pod: { name: 'app', uid } };
    return [first, encode(payload({ 'kubernetes.io': claims })), last].join('.');
  }),
  fc.tuple(header, fc.nat(), fc.constantFrom('.', '=', '+', '/', ' ', '\n', '%', '')).map(([head, at, text]) => {
    const token = signed(head, payload());
    const place = at % token.length;
    const changed = token.slice(0, place) + text + token.slice(place + 1);
    return changed === token ? `${token}.` : changed;
  }),
  header.map((head) => `Bearer ${signed(head, payload())}`),
  // No token at all: huge, nested, of other parts.
  fc.string({ maxLength: 200 }),
  fc.integer({ min: 1, max: 100_000 }).map((length) => `${'a'.repeat(length)}.${'b'.repeat(length)}.c`),
  nested.map((text) => `${Buffer.from(text).toString('base64url')}.e30.e30`),
  nested.map((text) => `${encode(RSA)}.${Buffer.from(text).toString('base64url')}.e30`),
);

export const podTokens = fc.property(forged, (token) => {
  const verdict = within(
    VERIFY_MS,
    'a token',
    () => token,
    (text) => verifier.verify(text),
  );
  assert.equal(verdict.ok, false);
  assert.equal(verifier.known(token), undefined);
});
