const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

// \u00b5 is the micro sign, \u03bc the Greek letter that looks like it: Go takes both.
const TERM = /(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/y;

/** The longest duration that Go can hold: 2^63-1 nanoseconds, in milliseconds. */
const LONGEST_MS = 9_223_372_036_854.775;

/**
 * Reads a duration as Go's `time.ParseDuration` does (https://pkg.go.dev/time#ParseDuration) and returns milliseconds,
 * or undefined where Go reports an error: `1` has no unit, `1d` no known one. `0` needs no unit.
 */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1;
  const body = /^[+-]/.test(text) ? text.slice(1) : text;
  if (body === '0') return 0;
  if (body === '') return undefined;
  let totalMs = 0;
  TERM.lastIndex = 0;
  while (TERM.lastIndex < body.length) {
    const term = TERM.exec(body);
    if (term === null) return undefined;
    totalMs += Number(term[1]) * (UNIT_MS[term[2] ?? ''] ?? Number.NaN);
  }
  return totalMs > LONGEST_MS ? undefined : sign * totalMs;
}
