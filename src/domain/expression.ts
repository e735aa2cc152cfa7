import { RE2JS } from 're2js';

/** A namespace's expression, ready to be matched, or why nothing can match it. */
export type Expression =
  | {
      readonly ok: true;
      readonly text: string;
      matches(roleArn: string): boolean;
      /** Whether Kiam's way of anchoring would have matched, for a warning: see {@link compileExpression}. */
      matchesAsKiam(roleArn: string): boolean;
    }
  | {
      readonly ok: false;
      readonly text: string;
      readonly reason: string;
      /** Set where a limit refuses it, which Kiam does not have. */
      readonly isTooLarge?: true;
    };

/**
 * Longer ones are refused unread: 100 full ARNs joined by `|` are about this long. To compile costs more than the size of the
 * program shows: `(?i)[\pL…]` of 64 KiB makes 3 instructions in 3.8 s, in which a server answers nobody; of 4 KiB 0.2 s.
 */
export const LONGEST_EXPRESSION_BYTES = 4096;

/** Linear time can still be slow: `(x?){500}x{500}` has 15 bytes and costs 110 ms a match. 100 full ARNs make 66 instructions. */
export const LARGEST_PROGRAM = 1000;

/**
 * Compiles the value of a namespace's annotation as RE2 (https://github.com/google/re2/wiki/Syntax), which Kiam's Go uses.
 * `strict`: the expression must match the whole ARN. It is compiled alone: Kiam's `^expr$` lets `a|b` match a part, and an
 * expression can close a group that is put round it (`x)|(?:.*`). Not strict: a match anywhere in the ARN is enough.
 */
export function compileExpression(text: string, strict: boolean): Expression {
  if (Buffer.byteLength(text, 'utf8') > LONGEST_EXPRESSION_BYTES) {
    return { ok: false, text, reason: `it is longer than ${LONGEST_EXPRESSION_BYTES} bytes`, isTooLarge: true };
  }
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(text);
  } catch (error) {
    return { ok: false, text, reason: error instanceof Error ? error.message : 'it does not compile' };
  }
  if (compiled.programSize() > LARGEST_PROGRAM) {
    return { ok: false, text, reason: `it compiles to more than ${LARGEST_PROGRAM} instructions`, isTooLarge: true };
  }
  const matches = strict
    ? (roleArn: string) => compiled.matches(roleArn)
    : (roleArn: string) => compiled.matcher(roleArn).find();
  return { ok: true, text, matches, matchesAsKiam: (roleArn) => compileAsKiam(text, strict)?.(roleArn) ?? false };
}

/**
 * The match that Kiam makes of an expression; undefined when it does not compile. It searches for `^expr$`
 * (`pkg/server/policy.go`), in which the anchors belong to the outermost alternatives alone, and when not strict for `expr`. Of
 * any length and cost: Kiam has no limit.
 */
export function compileAsKiam(text: string, strict: boolean): ((roleArn: string) => boolean) | undefined {
  try {
    const compiled = RE2JS.compile(strict ? `^${text}$` : text);
    return (roleArn) => compiled.matcher(roleArn).find();
  } catch {
    return undefined;
  }
}
