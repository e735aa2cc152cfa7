import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compileExpression, LONGEST_EXPRESSION_BYTES } from '#domain/expression.ts';

const reasonOf = (text: string): string => {
  const expression = compileExpression(text, true);
  return expression.ok ? '' : expression.reason;
};

test('an expression that compiles to more instructions than are matched quickly is refused, however short', () => {
  for (const text of ['(x?){500}x{500}', 'x{1000}y']) assert.match(reasonOf(text), /instructions/, text);
  assert.equal(reasonOf('x{900}'), '');
});

test('the length of an expression is bounded in bytes, not in characters', () => {
  assert.equal(reasonOf('x'.repeat(990)), '');
  assert.match(reasonOf('é'.repeat(LONGEST_EXPRESSION_BYTES / 2 + 1)), /longer than 4096 bytes/);
});

test('an expression matches the whole ARN when strict and a part of it when not', () => {
  const ARN = 'arn:aws:iam::123456789012:role/team/app';
  const matches = (text: string, strict: boolean): boolean => {
    const expression = compileExpression(text, strict);
    return expression.ok && expression.matches(ARN);
  };
  assert.deepEqual([matches('team/.*', true), matches('team/.*', false)], [false, true]);
  assert.deepEqual([matches('arn:.*', true), matches('nothing', false)], [true, false]);
  assert.equal(matches('x)|(?:.*', true), false);
});
