import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { compileExpression, LONGEST_EXPRESSION_BYTES } from '#domain/expression.ts';
import { decide } from '#domain/policy.ts';

import { podRecord } from '../../support/pods.ts';

const BASE = 'arn:aws:iam::123456789012:role/';

function decideFor(role: string, requestedRole: string, permitted: string | undefined, strict = true, externalId = '') {
  return decide({
    pod: podRecord({ role, externalId, namespace: 'team' }),
    requestedRole,
    namespace: permitted === undefined ? undefined : { name: 'team', permitted },
    expression: compileExpression(permitted ?? '', strict),
    baseArn: BASE,
  });
}

describe('a role is allowed', () => {
  for (const [what, role, asked, permitted, arn] of [
    ['when the namespace permits all', 'reader', 'reader', '.*', `${BASE}reader`],
    ['when the expression is its ARN', 'reader', 'reader', `${BASE}reader`, `${BASE}reader`],
    ['when it is asked for by its ARN', 'reader', `${BASE}reader`, '.*', `${BASE}reader`],
    [
      'with and without the leading slash of its path',
      '/team-a/app',
      'team-a/app',
      `${BASE}team-a/.*`,
      `${BASE}team-a/app`,
    ],
    ['by either side of an alternation', 'writer', 'writer', `${BASE}reader|${BASE}writer`, `${BASE}writer`],
    [
      'in another account',
      'arn:aws:iam::999999999999:role/x',
      'arn:aws:iam::999999999999:role/x',
      'arn:aws:iam::999999999999:role/.*',
      'arn:aws:iam::999999999999:role/x',
    ],
  ] as const) {
    it(what, () => {
      assert.deepEqual(decideFor(role, asked, permitted), { allowed: true, roleArn: arn });
    });
  }

  it('a role is allowed by a part of its ARN when expressions are not strict', () => {
    assert.equal(decideFor('reader', 'reader', 'reader', false).allowed, true);
  });
});

describe('a role is refused, and the explanation says why', () => {
  for (const [what, role, asked, permitted, explanation] of [
    ['another role is asked', 'reader', 'writer', '.*', "requested 'writer' but annotated with 'reader', forbidden"],
    ['case differs', 'reader', 'READER', '.*', "requested 'READER' but annotated with 'reader', forbidden"],
    [
      'the bare name of a full ARN is asked (Kiam shows the name on both sides)',
      'arn:aws:iam::999999999999:role/other-account',
      'other-account',
      '.*',
      "requested 'other-account' but annotated with 'other-account', forbidden",
    ],
    [
      'the expression matches a part only',
      'reader',
      'reader',
      'reader',
      `namespace policy expression 'reader' forbids role '${BASE}reader'`,
    ],
    [
      'one side of an alternation matches a part only',
      'reader-admin',
      'reader-admin',
      `${BASE}reader|${BASE}writer`,
      `namespace policy expression '${BASE}reader|${BASE}writer' forbids role '${BASE}reader-admin'`,
    ],
    ['the annotation is empty', 'reader', 'reader', '', "namespace policy expression '(empty)' forbids role 'reader'"],
    ['the namespace is not known', 'reader', 'reader', undefined, "namespace 'team' is not known, forbidden"],
    [
      'the expression is invalid',
      'reader',
      'reader',
      '([a-z',
      "namespace policy expression '([a-z' is invalid: error parsing regexp: missing closing ]: `[a-z`",
    ],
    ['no role is annotated', '', 'reader', '.*', "role can't be empty"],
    ['what is annotated is no role', 'arn:x', 'arn:x', '.*', "'arn:x' is not the ARN of a role"],
    [
      'what is annotated can be no role of IAM',
      'my role',
      'my role',
      '.*',
      "'my role' cannot be the name of a role: that has 1 to 64 letters, digits and +=,.@_-",
    ],
  ] as const) {
    it(what, () => {
      assert.deepEqual(decideFor(role, asked, permitted), { allowed: false, explanation });
    });
  }

  for (const [what, externalId] of [
    ['one character', 'x'],
    ['a blank', 'half a secret'],
    ['a line break', 'id\n'],
    ['another script', 'ключ'],
    ['half a character', `id${'😀'.slice(0, 1)}`],
    ['1225 characters', 'x'.repeat(1225)],
  ] as const) {
    it(`the external id is ${what}, and the explanation does not repeat it`, () => {
      const decision = decideFor('reader', 'reader', '.*', true, externalId);
      assert.deepEqual(decision, {
        allowed: false,
        explanation:
          'iam.amazonaws.com/external-id is not valid: an external id has 2 to 1224 letters, digits and +=,.@:/_-',
      });
    });
  }

  for (const expression of ['x)|(?:.*', 'x$|^.*', 'x\n.*', 'a|b', '(?m)^x$|y', '']) {
    it(`however the expression ${JSON.stringify(expression)} tries to get out of its place`, () => {
      assert.equal(decideFor('admin', 'admin', expression).allowed, expression === 'x$|^.*');
    });
  }

  for (const expression of [
    '(x?){500}x{500}',
    '(a|b|c){1000}',
    '((a{100}){100}){100}',
    'a'.repeat(LONGEST_EXPRESSION_BYTES + 1),
  ]) {
    it(`a role is refused, and the explanation says why: when matching ${expression.slice(0, 20)} could take too long`, () => {
      assert.equal(decideFor('admin', 'admin', expression).allowed, false);
    });
  }

  it('a role is refused, and the explanation says why and an explanation stays short whatever the annotation', () => {
    const decision = decideFor('reader', 'reader', '('.repeat(60_000));
    assert.ok(!decision.allowed);
    assert.ok(decision.explanation.length < 500);
  });
});
