import assert from 'node:assert/strict';

import fc from 'fast-check';

import { canonicalTarget } from '#agent/canonical-path.ts';
import { routeOf } from '#agent/route.ts';
import { createTokens } from '#agent/tokens.ts';
import { canonicalAddress } from '#domain/address.ts';
import { compileExpression } from '#domain/expression.ts';
import { decide } from '#domain/policy.ts';
import { resolveRole } from '#domain/role.ts';
import { stsSessionName } from '#domain/session-name.ts';
import { systemClock } from '#runtime/clock.ts';

import { podRecord } from '../support/pods.ts';
import { headers } from './headers.ts';
import type { Property } from './property.ts';
import { clientCalls, stsCalls } from './sts-calls.ts';
import { watchLine, watchObject } from './watch.ts';
import { podTokens } from './pod-tokens.ts';
import { tokenHolders } from './token-holders.ts';
import { STALL_MS, within } from './within.ts';
import { NO_MEMORY } from '../support/no-memory.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

/** What a namespace's new expression may cost, once, in milliseconds. */
const COMPILE_MS = 250;

const roleName = fc.oneof(
  fc.constantFrom(
    'reader',
    'reader-admin',
    'team-a/app',
    '/team-a/app',
    'team-b/app',
    '',
    '/',
    'arn:',
    'arn:x',
    '__proto__',
  ),
  fc.string({ unit: fc.constantFrom('a', 'b', '/', '-', ' ', 'ä', '😀', '\u0000'), maxLength: 12 }),
  fc.constantFrom('reader', 'a', 'b').map((name) => BASE + name),
);

/** Expressions of a small grammar that RE2 and JavaScript understand alike, so that the one can be held against the other. */
const expression: fc.Arbitrary<string> = fc.letrec<{ whole: string; part: string }>((tie) => ({
  part: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('reader', 'team-a/', 'a', 'b', '.*', '.', '[a-c]', '-admin', BASE) },
    { weight: 1, arbitrary: tie('whole').map((inner) => `(?:${inner})`) },
    { weight: 1, arbitrary: tie('part').map((inner) => `(?:${inner})?`) },
  ),
  whole: fc
    .array(
      fc.array(tie('part'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('')),
      { minLength: 1, maxLength: 3 },
    )
    .map((sides) => sides.join('|')),
})).whole;

/** The rule of the specification in other words: the one role that is annotated, and the whole of its ARN matched. */
function oracleAllows(annotated: string, asked: string, permitted: string): boolean {
  const arnOf = (role: string): string =>
    role.startsWith('arn:') ? role : BASE + (role[0] === '/' ? role.slice(1) : role);
  const arn = arnOf(annotated);
  if (annotated === '' || asked === '' || arn !== arnOf(asked)) return false;
  if (!/^arn:aws:iam::[0-9]{12}:role\/(?:[!-~]+\/|\/)?[a-zA-Z0-9_+=,.@-]{1,64}$/.test(arn) || permitted === '')
    return false;
  return new RegExp(`^(?:${permitted})$`, 'u').test(arn);
}

const nothing = (): void => {};

const policy = fc.property(roleName, fc.option(roleName), expression, (annotated, other, permitted) => {
  const asked = other ?? annotated;
  const compiled = compileExpression(permitted, true);
  const decision = within(
    STALL_MS,
    'a decision',
    () => compiled,
    () =>
      decide({
        pod: podRecord({ role: annotated, namespace: 'team' }),
        requestedRole: asked,
        namespace: { name: 'team', permitted },
        expression: compiled,
        baseArn: BASE,
      }),
  );
  // No expression of the grammar repeats a part by number: only a long one can be larger than a program may be.
  if (!compiled.ok && permitted.length > 500) {
    assert.match(compiled.reason, /longer than 4096 bytes|more than 1000 instructions/);
    assert.equal(decision.allowed, false);
    return;
  }
  assert.equal(
    decision.allowed,
    oracleAllows(annotated, asked, permitted),
    JSON.stringify({ annotated, asked, permitted }),
  );
});

const anyText = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 60 }));
const hardExpression = fc
  .array(
    fc.constantFrom(
      '(',
      ')',
      '{500}',
      '{1000}',
      'x?',
      'x*',
      '|',
      '.',
      '[',
      ']',
      '\\',
      'a',
      '^',
      '$',
      '(?i)',
      '\\pL',
      '(?:',
      '+',
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

const anyExpression = fc.property(fc.oneof(anyText, hardExpression), (text) => {
  const compile = () => compileExpression(text, true);
  within(COMPILE_MS, 'an expression', nothing, compile);
  within(STALL_MS, 'a match', compile, (compiled) => compiled.ok && compiled.matches(`${BASE}${'x'.repeat(64)}`));
});

const target = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '/',
        '//',
        '/.',
        '/..',
        '%2f',
        '%2F',
        '%2e',
        '%5c',
        '\\',
        ';',
        '%00',
        '%25',
        '%c0%af',
        '?',
        '#',
        '@',
        ':',
        '%',
        'http://',
      ),
      fc.constantFrom(
        'latest',
        'meta-data',
        'iam',
        'IAM',
        'security-credentials',
        'identity-credentials',
        'instance-id',
        'node',
        'user-data',
        'api',
        'token',
      ),
      fc.string({ unit: 'binary-ascii', maxLength: 3 }),
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(''));

const path = fc.property(target, (text) => {
  const found = within(STALL_MS, 'a path', nothing, () => canonicalTarget(text));
  if (!found.ok) return;
  assert.ok(found.path.startsWith('/'));
  assert.doesNotMatch(found.path, /\/\/|\/\.\.?(?:\/|$)/, 'doubled slashes and dot segments are gone');
  assert.doesNotMatch(found.path, /\p{Cc}/u);
  const again = canonicalTarget(found.path.split('/').map(encodeURIComponent).join('/'));
  assert.ok(again.ok && again.path === found.path, 'a canonical path is its own');
  const route = routeOf(found.path);
  if (route.name === 'proxy') {
    const names = found.path.toLowerCase().split('/');
    assert.ok(
      !names.some(
        (name) => name === 'iam' || name.startsWith('security-credentials') || name.startsWith('identity-credentials'),
      ),
    );
  }
});

const identity = fc.property(anyText, (text) => {
  assert.match(stsSessionName(text), /^[\w+=,.@-]{2,64}$/);
  const role = resolveRole(text, BASE);
  if (role.ok) assert.ok(role.role.arn.startsWith('arn:') && role.role.arn.length <= 2048);
  const address = canonicalAddress(text);
  if (address !== undefined) assert.equal(canonicalAddress(address), address);
});

const tokens = createTokens({ clock: systemClock, source: NO_MEMORY });
const forgery = fc.property(fc.oneof(anyText, fc.base64String({ minLength: 50, maxLength: 54 })), (text) => {
  assert.equal(tokens.verify('192.0.2.1', text), false);
});

export const PROPERTIES: readonly Property[] = [
  { name: 'policy allows what the rule allows and nothing else', property: policy, share: 2 },
  { name: 'no expression stalls, whatever it is', property: anyExpression, share: 1 },
  { name: 'a path is canonical or refused, and none below iam is proxied', property: path, share: 4 },
  { name: 'no object of a watch does harm', property: watchObject, share: 1 },
  { name: 'no line of a watch does harm, torn or not', property: watchLine, share: 1 },
  { name: 'no header changes who asks, what is asked or what is answered', property: headers, share: 0.5 },
  { name: 'names that STS is given are names', property: identity, share: 2 },
  {
    name: 'STS is sent the call of a pod and nothing else, whatever the pod annotates',
    property: stsCalls,
    share: 0.1,
  },
  { name: 'a client of STS sends no part of another call, whatever it is given', property: clientCalls, share: 0.1 },
  { name: 'no token can be guessed', property: forgery, share: 1 },
  { name: 'no token of a pod is accepted that the cluster did not sign for it', property: podTokens, share: 0.2 },
  { name: 'a token gives the credentials of its own pod alone, to that pod alone', property: tokenHolders, share: 1 },
];
