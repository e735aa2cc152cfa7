/** How the agent interprets a request's target. Nothing else in the program interprets one. */
export type CanonicalTarget =
  | {
      readonly ok: true;
      /** Decoded once, without dot segments and doubled slashes; begins with a slash. */
      readonly path: string;
      /** As received, without the question mark. */
      readonly query: string;
      /** Whether the path has only characters that every HTTP program understands alike, so that it may be sent on. */
      readonly plain: boolean;
      /** Whom a target in absolute form names. It counts in place of the Host header (RFC 9112, 3.2.2). */
      readonly authority?: string;
    }
  | { readonly ok: false; readonly reason: string };

/**
 * The canonical path of a raw request target, in origin form or absolute form (RFC 9112, 3.2). Total and pure.
 * Percent-encoding is undone exactly once, then the path is cleaned as Go's net/http does for Kiam (`cleanPath`); what could
 * mean one thing here and another elsewhere is refused: broken or overlong encodings, control characters, bytes beyond ASCII.
 * A canonical path, each segment encoded, is its own canonical path.
 */
export function canonicalTarget(target: string): CanonicalTarget {
  const mark = target.indexOf('?');
  const rawPath = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? '' : target.slice(mark + 1);
  if (isCanonical(rawPath)) return { ok: true, path: rawPath, query, plain: true };
  if (!PRINTABLE.test(target)) return refusal('the request target has characters that must be encoded');
  const inOriginForm = rawPath.startsWith('/') ? rawPath : pathOfAbsoluteForm(rawPath);
  if (inOriginForm === undefined) return refusal('the request target is not a path');
  const decoded = decodeOnce(inOriginForm);
  if (decoded === undefined) return refusal('the path is not validly encoded');
  if (CONTROL.test(decoded)) return refusal('the path has control characters');
  const path = clean(decoded);
  const understood = { ok: true, path, query, plain: PLAIN.test(path) } as const;
  return rawPath.startsWith('/') ? understood : { ...understood, authority: authorityOf(rawPath) };
}

/** Unreserved characters and those that metadata paths have: MAC addresses, `0=key`, tag names. No `%`, `;` or backslash. */
const PLAIN = /^\/[A-Za-z0-9._~:@=,+/-]*$/;
const PRINTABLE = /^[\x21-\x22\x24-\x7e]*$/;
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
const ABSOLUTE_FORM = /^https?:\/\/[^/]+/i;

/** The usual case, in which nothing has to be changed. */
function isCanonical(path: string): boolean {
  return PLAIN.test(path) && !path.includes('//') && !path.includes('/.');
}

/** `http://169.254.169.254/latest` is `/latest`. */
function pathOfAbsoluteForm(target: string): string | undefined {
  const origin = ABSOLUTE_FORM.exec(target)?.[0];
  if (origin === undefined) return undefined;
  return target.length === origin.length ? '/' : target.slice(origin.length);
}

function authorityOf(absoluteForm: string): string {
  return absoluteForm.split('/', 3)[2] ?? '';
}

/** Undefined for broken percent-encoding and for anything but shortest-form UTF-8. */
function decodeOnce(path: string): string | undefined {
  if (!path.includes('%')) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function clean(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  if (kept.length === 0) return '/';
  return `/${kept.join('/')}${path.endsWith('/') ? '/' : ''}`;
}

function refusal(reason: string): CanonicalTarget {
  return { ok: false, reason };
}
