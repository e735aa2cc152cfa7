import { createHash } from 'node:crypto';

import { LONGEST_SESSION_NAME, SHORTEST_SESSION_NAME } from './iam-grammar.ts';

/** What a template may name, in braces. */
const PLACEHOLDERS = ['cluster', 'namespace', 'serviceAccount', 'pod', 'uid', 'sessionName'] as const;
export type Placeholder = (typeof PLACEHOLDERS)[number];
export type NameValues = Readonly<Record<Placeholder, string>>;

/** How a name at STS is put together: `--session-name`, `--source-identity`. */
export interface NameTemplate {
  readonly text: string;
  readonly placeholders: readonly Placeholder[];
  /** What stands before the first placeholder, between two of them, and after the last: one more than there are placeholders. */
  readonly literals: readonly string[];
  /** What stands before a hash: a character that the literals do not have. */
  readonly mark: string;
}

const ALLOWED = /^[\w+=,.@-]*$/;
const FORBIDDEN = /[^\w+=,.@-]/gu;
/** No name of Kubernetes has one of these. */
const MARKS = ['_', '+', '=', ',', '@'] as const;

/** Reads a template; the reason completes the sentence `--flag=value ...`. */
export function parseNameTemplate(
  text: string,
): { readonly ok: true; readonly value: NameTemplate } | { readonly ok: false; readonly reason: string } {
  const parts = text.split(/\{([^{}]*)\}/);
  const literals = parts.filter((_, index) => index % 2 === 0);
  const placeholders: Placeholder[] = [];
  for (const name of parts.filter((_, index) => index % 2 === 1)) {
    const known = PLACEHOLDERS.find((placeholder) => placeholder === name);
    if (known === undefined) {
      const list = PLACEHOLDERS.map((placeholder) => `{${placeholder}}`).join(', ');
      return { ok: false, reason: `has {${name}} in it, which is none of ${list}` };
    }
    placeholders.push(known);
  }
  const constant = literals.join('');
  const mark = MARKS.find((character) => !constant.includes(character));
  const isTooShort = placeholders.length === 0 && constant.length < SHORTEST_SESSION_NAME;
  if (!ALLOWED.test(constant) || isTooShort || constant.length > LONGEST_SESSION_NAME / 2) {
    return { ok: false, reason: 'has something other than placeholders and at most 32 letters, digits and +=,.@_-' };
  }
  return mark === undefined
    ? { ok: false, reason: 'leaves none of _+=,@ unused, one of which separates a hash' }
    : { ok: true, value: { text, placeholders, literals, mark } };
}

/** Of the hash, in hexadecimal digits: who wants another's name has to find one of 2^48. */
const HASH_DIGITS = 12;

/**
 * The name for these values: 2 to 64 characters of those that STS takes
 * (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html). Where values do not fit, or could be divided in
 * another way, their hash is at the end: different values never have the same name.
 */
export function expandName({ placeholders, literals, mark }: NameTemplate, values: NameValues): string {
  const used = placeholders.map((placeholder) => values[placeholder]);
  const plain = literals.reduce((text, literal, index) => text + (used[index - 1] ?? '') + literal);
  const isClear = used.every((value, index) => {
    const separator = literals[index + 1]?.charAt(0) ?? '';
    const isLast = index === used.length - 1;
    return !value.includes(mark) && (isLast || (separator !== '' && !value.includes(separator)));
  });
  const fits = plain.length >= SHORTEST_SESSION_NAME && plain.length <= LONGEST_SESSION_NAME && ALLOWED.test(plain);
  if (isClear && fits) return plain;
  const hash = createHash('sha256').update(JSON.stringify(used)).digest('hex').slice(0, HASH_DIGITS);
  const readable = plain.replaceAll(FORBIDDEN, '-').slice(0, LONGEST_SESSION_NAME - HASH_DIGITS - mark.length);
  return `${readable}${mark}${hash}`;
}
