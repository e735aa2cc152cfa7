import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compileAllowedRoles, matchesGlob, permittedByList } from '#domain/allowed-roles.ts';
import { compileExpression } from '#domain/expression.ts';

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
  [list('reader', 5, null), 'glob', 'reader', true],
  [list('reader', 5), 'regexp', 'reader', true],
  [list(null), 'regexp', 'reader', false],
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

test('The expression for `permitted` permits the same roles as the list, for lists and roles at random', () => {
  let seed = 20_261_128;
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] ?? assert.fail();
  const text = (letters: readonly string[], most: number): string =>
    Array.from({ length: 1 + Math.floor(random() * most) }, () => pick(letters)).join('');
  const names = ['a', 'b', 'ab', '.', '+', '/', '-', 'ba/'];
  const globs = [...names, '*', '*', '?', '[', '(', String.raw`\\`];
  const expressions = [
    ...names,
    '.*',
    '|',
    '(',
    ')',
    '[ab]',
    '^',
    '$',
    '?',
    '+',
    '(?i)',
    String.raw`\\Q`,
    String.raw`\\w`,
    String.raw`\E`,
  ];
  const counts = { same: 0, permitted: 0, dropped: 0 };
  for (let round = 0; round < 20_000; round += 1) {
    const format = pick(['glob', 'regexp'] as const);
    const entries = Array.from({ length: Math.floor(random() * 4) }, () => {
      const entry = text(format === 'glob' ? globs : expressions, 5);
      return pick([entry, entry, `${BASE}${entry}`, `arn:${format === 'glob' ? '*' : '.*'}${entry}`]);
    });
    const { expression, dropped } = permittedByList(JSON.stringify(entries), format, BASE);
    // What kube2iam permits by an entry that cannot be carried over is told beside the expression.
    const kept = list(...entries.filter((entry) => !dropped.includes(entry)));
    const kube2iam = compileAllowedRoles(kept, format, BASE);
    const ours = compileExpression(expression, true);
    assert.ok(ours.ok && kube2iam.ok, expression);
    counts.dropped += dropped.length;
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const roleArn = pick([BASE, BASE, 'arn:aws:iam::1:role/']) + text(names, 5);
      const isPermitted: boolean = kube2iam.matches(roleArn);
      assert.equal(expression !== '' && ours.matches(roleArn), isPermitted, `${kept} ${expression} ${roleArn}`);
      counts.same += 1;
      if (isPermitted) counts.permitted += 1;
    }
  }
  assert.ok(counts.permitted > 5000 && counts.dropped > 1000, JSON.stringify(counts));
});

test('An entry that does not compile, or could swallow what stands behind it, is left out and named', () => {
  const text = list('reader', '([a-z', String.raw`\Qwriter`);
  const expression = String.raw`.*(?:${BASE}reader).*`;
  assert.deepEqual(permittedByList(text, 'regexp', BASE), { expression, dropped: ['([a-z', String.raw`\Qwriter`] });
  for (const nothing of ['', 'reader', '[]', 'null']) {
    assert.deepEqual(permittedByList(nothing, 'glob', BASE), { expression: '', dropped: [] });
  }
});
