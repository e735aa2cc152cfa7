import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compileAllowedRoles, matchesGlob } from '#domain/allowed-roles.ts';

const BASE = 'arn:aws:iam::123456789012:role/';
const list = (...entries: readonly unknown[]): string => JSON.stringify(entries);

/** The annotation, how it is read, the role behind the base ARN, and whether kube2iam permits it. */
const CASES: readonly (readonly [text: string, format: 'glob' | 'regexp', role: string, isPermitted: boolean])[] = [
  [list('reader'), 'glob', 'reader', true],
  [list('reader'), 'glob', 'reader-admin', false],
  [list('team-a/*'), 'glob', 'team-a/deep/app', true],
  [list('re*er'), 'glob', 'reader', true],
  [list('re*er'), 'glob', 'readers', false],
  [list('*'), 'glob', '', true],
  [list('ab*ba'), 'glob', 'aba', false],
  [list(''), 'glob', '', true],
  [list('eade'), 'regexp', 'reader', false],
  [list(`${BASE}eade`), 'regexp', 'reader', false],
  [list('reade'), 'regexp', 'reader', true],
  [list('arn:aws.*eade'), 'regexp', 'reader', true],
  [list('([a-z', 'reader'), 'regexp', 'reader', true],
  [list('([a-z'), 'regexp', 'reader', false],
  [list('(x?){500}x{500}', 'writer'), 'regexp', 'reader', false],
  ['', 'glob', 'reader', false],
  ['reader', 'glob', 'reader', false],
  ['["reader"', 'glob', 'reader', false],
  ['{"reader": true}', 'glob', 'reader', false],
  ['null', 'glob', 'reader', false],
  ['[]', 'regexp', 'reader', false],
  [list('other', 5), 'regexp', 'reader', false],
  [`["reader","${'x'.repeat(70_000)}"]`, 'glob', 'reader', false],
];

for (const [text, format, role, isPermitted] of CASES) {
  test(`${text.slice(0, 60)} as ${format} ${isPermitted ? 'permits' : 'refuses'} ${role || 'the base ARN alone'}`, () => {
    const compiled = compileAllowedRoles(text, format, BASE);
    assert.equal(compiled.ok && compiled.matches(BASE + role), isPermitted);
  });
}

test('A glob is as good as the expression that means the same', () => {
  const letters = 'ab*'.split('');
  const words = (length: number): string[] =>
    length === 0 ? [''] : words(length - 1).flatMap((word) => ['', ...letters].map((letter) => word + letter));
  const texts = [...new Set(words(4))].filter((word) => !word.includes('*'));
  for (const pattern of new Set(words(4))) {
    const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
    for (const text of texts) assert.equal(matchesGlob(pattern, text), expression.test(text), `${pattern} ${text}`);
  }
});
