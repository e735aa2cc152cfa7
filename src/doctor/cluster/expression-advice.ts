import { LARGEST_PROGRAM, LONGEST_EXPRESSION_BYTES } from '#domain/expression.ts';

/** A pattern of a shell in place of an expression: `*`, `*.*`, `team-*` are what published guides for Kiam show. */
const SHELL_PATTERN = /^(?:\*(?:[.*/]\*?)*|\*[\w/-]*|[+?].*)$/;

/** What to do about an expression that permits nothing because it is refused as a whole; `reason` is why. */
export function expressionAdvice(text: string, reason: string): string {
  if (reason.includes(`${LONGEST_EXPRESSION_BYTES} bytes`) || reason.includes(`${LARGEST_PROGRAM} instructions`)) {
    return 'shorten the expression: what the names of roles have in common, or a path for each namespace’s roles';
  }
  if (SHELL_PATTERN.test(text)) {
    return 'an expression is not a shell pattern: .* stands for any text, arn:aws:iam::ACCOUNT:role/PATH/.* for the roles below a path';
  }
  return 'write it in the syntax of RE2: https://github.com/google/re2/wiki/Syntax';
}
