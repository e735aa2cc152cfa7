/**
 * Prints a line of JSON again as logrus' text form: `time`, `level` and `msg`, then the other fields by name
 * (https://github.com/sirupsen/logrus, `text_formatter.go`). An empty value stands for itself: `key=`.
 */
export function logfmtLine(jsonLine: string): string {
  const { time, level, msg, ...fields } = parse(jsonLine);
  const pairs = [pair('time', time), pair('level', level), pair('msg', msg)];
  for (const name of Object.keys(fields).sort()) pairs.push(pair(name, fields[name]));
  return `${pairs.join(' ')}\n`;
}

function parse(jsonLine: string): Record<string, unknown> {
  return JSON.parse(jsonLine);
}

/** The characters that logrus leaves bare. */
const BARE = /^[A-Za-z0-9\-._/@^+]*$/;

function pair(name: string, value: unknown): string {
  const text = String(value);
  return `${name}=${BARE.test(text) ? text : quote(text)}`;
}

/** What Go's `%q` does not print as it is: the quote, the backslash and everything without a glyph but the ASCII space. */
const ESCAPED = /["\\]|[^ \p{L}\p{M}\p{N}\p{P}\p{S}]/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

function quote(text: string): string {
  return `"${text.replace(ESCAPED, escape)}"`;
}

/** As Go escapes a character: https://pkg.go.dev/strconv#Quote */
function escape(character: string): string {
  const short = SHORT_ESCAPES[character];
  if (short !== undefined) return short;
  const codePoint = character.codePointAt(0) ?? 0;
  const hexadecimal = codePoint.toString(16);
  if (codePoint < 0x80) return `\\x${hexadecimal.padStart(2, '0')}`;
  return codePoint < 0x1_0000 ? `\\u${hexadecimal.padStart(4, '0')}` : `\\U${hexadecimal.padStart(8, '0')}`;
}
