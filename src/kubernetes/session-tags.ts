import type { SessionTag } from '#domain/attribution.ts';
import { LONGEST_TAG_KEY, LONGEST_TAG_VALUE, MOST_TAGS } from '#domain/iam-grammar.ts';
import { SESSION_TAG_PREFIX } from '#domain/service-account.ts';
import { beginningOf } from '#runtime/text.ts';
import { isObject, textField } from './json-fields.ts';

/** What is longer than STS takes is replaced by a text that is refused for its length. */
const TOO_LONG = '(too long) '.repeat(24);

interface OwnTags {
  readonly sessionTags: readonly SessionTag[];
  /** The key of an annotation that does not count; `''` when there is none. */
  readonly ignoredTag: string;
}

/** Most objects have none, and share one record of that. */
export const NO_TAGS: OwnTags = { sessionTags: [], ignoredTag: '' };

/**
 * The session tags among annotations that count, in the order of their keys; of more than STS takes one more, which is refused.
 */
export function sessionTagsIn(annotations: unknown, allowedTags: readonly string[]): OwnTags {
  if (!isObject(annotations)) return NO_TAGS;
  const names = Object.keys(annotations).filter((name) => name.startsWith(SESSION_TAG_PREFIX));
  if (names.length === 0) return NO_TAGS;
  const keys = names.map((name) => name.slice(SESSION_TAG_PREFIX.length)).sort();
  const counts = (key: string): boolean => allowedTags.includes(key);
  const ignored = keys.find((key) => !counts(key)) ?? '';
  const sessionTags = keys
    .filter(counts)
    .slice(0, MOST_TAGS + 1)
    .map((key): SessionTag => {
      const value = textField(annotations, `${SESSION_TAG_PREFIX}${key}`);
      // Characters of two units count once for STS.
      const isLong = value.length > 2 * LONGEST_TAG_VALUE;
      return [key.length > 2 * LONGEST_TAG_KEY ? TOO_LONG : key.toWellFormed(), isLong ? TOO_LONG : value];
    });
  return { sessionTags, ignoredTag: beginningOf(ignored, LONGEST_TAG_KEY) };
}
