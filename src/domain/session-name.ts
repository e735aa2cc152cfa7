/**
 * RoleSessionName may have 2 to 64 characters of this set:
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
 */
const LONGEST_BYTES = 64;

/** For people: what an annotated session name should be, so that it is used as it is. */
export const SESSION_NAME_RULE =
  'with its prefix kiam- a session name has at most 64 letters, digits and +=,.@_-; others are replaced, and a longer one is cut';

const FORBIDDEN = /[^\w+=,.@-]/g;

/**
 * The session name that STS is given (Kiam, `pkg/aws/sts/gateway.go` and `sanitize.go`): `kiam-` and the name; over 64
 * bytes of UTF-8 it is cut to 63, and only then each character, or byte of a broken one, that STS would refuse becomes `-`.
 */
export function stsSessionName(name: string): string {
  const bytes = Buffer.from(`kiam-${name}`, 'utf8');
  if (bytes.length <= LONGEST_BYTES) return replaceForbidden(bytes.toString('utf8'));
  // Cutting may leave a part of a character at the end. Go replaces each of its bytes on its own.
  const cut = bytes.subarray(0, LONGEST_BYTES - 1);
  let whole = cut.length;
  while (whole > 0 && !isUtf8Boundary(bytes, whole)) whole -= 1;
  return replaceForbidden(cut.subarray(0, whole).toString('utf8')) + '-'.repeat(cut.length - whole);
}

/** Whether a character of the valid UTF-8 text begins at `index`: continuation bytes are 10xxxxxx. */
function isUtf8Boundary(bytes: Buffer, index: number): boolean {
  return ((bytes[index] ?? 0) & 0xc0) !== 0x80;
}

/** One `-` for each code point: Go's regexp counts characters, JavaScript's would count both halves of a surrogate pair. */
function replaceForbidden(text: string): string {
  return Array.from(text, (character) => character.replace(FORBIDDEN, '-').slice(0, 1)).join('');
}
