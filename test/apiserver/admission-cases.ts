import fc from 'fast-check';

/** What one namespace permits, and what pods in it would annotate. */
export interface Case {
  readonly permitted: string;
  readonly roles: readonly string[];
}

export const BASE_ARNS = [
  'arn:aws:iam::123456789012:role/',
  'arn:aws-cn:iam::123456789012:role/team/',
  'arn:aws:iam::123456789012:role/p-',
] as const;

const ROLES_OF_A_CASE = 20;

/** Names that roles have, spellings of them, and what is no role at all. */
const role = fc.oneof(
  fc.constantFrom(
    'team/app',
    '/team/app',
    'team/App',
    'app',
    '/app',
    'other/app',
    'team/',
    '/',
    '//app',
    'a b',
    'é',
    'a\nb',
  ),
  fc.constantFrom(
    'arn:aws:iam::123456789012:role/team/app',
    'arn:aws-us-gov:iam::123456789012:role/app',
    'arn:aws:iam::999999999999:role/app',
    'arn:aws:iam::1:role/app',
    'arn:aws:iam::123456789012:user/app',
    'arn:',
    'arn:aws:iam::123456789012:role/',
  ),
  fc.stringMatching(/^[a-z/+=,.@_-]{1,70}$/),
  fc.string({ maxLength: 8, unit: 'grapheme' }),
  fc.integer({ min: 60, max: 66 }).map((length) => 'n'.repeat(length)),
  fc.integer({ min: 505, max: 515 }).map((length) => `${'p'.repeat(length)}/n`),
);

/** Pieces of expressions: what people write, and what could be understood in two ways. */
const piece = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('arn:aws:iam::123456789012:role/', 'team/', 'app', '.*', '.+', '[a-z]+', '|'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '^',
      '$',
      '(',
      ')',
      '(?:',
      '(?i)',
      '(?i:',
      '(?s)',
      '(?m)',
      '(?U)',
      '(?P<n>',
      '(?<n>',
      '\\A',
      '\\z',
      '\\b',
      '\\B',
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '\\Q',
      '\\E',
      '\\\\Q',
      '\\',
      '\\.',
      '\\d',
      '\\w',
      '\\x41',
      '\\pL',
      '\\PN',
      '[[:alpha:]]',
      '[^/]',
      '[',
      ']',
      '\\C',
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '*',
      '+',
      '?',
      '*?',
      '+?',
      '??',
      '**',
      '{2}',
      '{2,}',
      '{2,3}',
      '{,3}',
      '{1001}',
      '{',
      '}',
      'x)|(?:.*',
      '\n',
      'é',
      '\u2028',
      '💥',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 4, unit: 'grapheme' }) },
);

const expression = fc.oneof(
  { weight: 6, arbitrary: fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join('')) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '.*',
      '*',
      'arn:aws:iam::123456789012:role/team/.*',
      'arn:aws:iam::123456789012:role/(team|other)/app',
      '^arn:aws:iam::123456789012:role/team/app$',
      'arn:aws[a-z-]*:iam::\\d{12}:role/.*',
      'team/app',
      'x)|(?:.*',
      '\\Qarn:aws:iam::123456789012:role/team/app',
      '(x?){500}x{500}',
      '(?i)ARN:AWS:IAM::123456789012:ROLE/TEAM/APP',
    ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 4090, max: 4100 }).map((length) => `.*${'|x'.repeat(length / 2 - 1)}`) },
);

/** `count` questions, the same for the same seed. NULs and lone surrogates are no text of the API. */
export function admissionCases(count: number, seed: number): readonly Case[] {
  const one = fc.record({
    permitted: expression,
    roles: fc.array(role, { minLength: ROLES_OF_A_CASE, maxLength: ROLES_OF_A_CASE }),
  });
  return fc.sample(one, { numRuns: Math.ceil(count / ROLES_OF_A_CASE), seed });
}
