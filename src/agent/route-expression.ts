import { RE2JS } from 're2js';

/** `--allow-route-regexp`, compiled. */
export interface RouteExpression {
  readonly text: string;
  /** Whether the expression is found anywhere in the path, as with Go's `regexp.MatchString` in Kiam. */
  matches(path: string): boolean;
}

/** Compiles the expression as RE2, which Kiam's Go uses: linear in the length of the path, whatever is asked. */
export function compileRouteExpression(
  text: string,
): { readonly ok: true; readonly expression: RouteExpression } | { readonly ok: false; readonly reason: string } {
  try {
    const compiled = RE2JS.compile(text);
    return { ok: true, expression: { text, matches: (path) => compiled.test(path) } };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : 'it does not compile' };
  }
}
