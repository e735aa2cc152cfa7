/**
 * Whether a valid expression has alternatives outside any group: only for these does Kiam's `^…$` differ from anchoring the
 * whole. Reads RE2's escapes, `\Q…\E` and classes (https://github.com/google/re2/wiki/Syntax).
 */
export function hasTopLevelAlternatives(expression: string): boolean {
  let depth = 0;
  for (const [token] of expression.matchAll(TOKENS)) {
    if (token === '(') depth += 1;
    else if (token === ')') depth -= 1;
    else if (token === '|' && depth === 0) return true;
  }
  return false;
}

/** A quotation, an escape, a class (in which a `]` at the beginning means itself), or a single character. */
const TOKENS = /\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|./gs;
