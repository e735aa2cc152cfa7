/** Longer texts are cut: an annotation may have 256 KiB, and a line over 16 KiB is split by container runtimes. */
const LONGEST_TEXT = 4096;

/** How many causes of an error are followed. */
const DEEPEST_CAUSE = 4;

/** These belong to the line itself; logrus renames fields that clash with them in the same way. */
const RESERVED = new Set(['time', 'level', 'msg', 'logrus_error']);

type WritableValue = string | number | boolean | Error;

/** Fields as they are written: text, finite numbers and booleans under names that do not clash with the line's own. */
export function printableFields(
  fields: Readonly<Record<string, WritableValue | undefined>>,
): Record<string, string | number | boolean> {
  const printed: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    printed[RESERVED.has(name) ? `fields.${name}` : name] = printableValue(value);
  }
  return printed;
}

function printableValue(value: WritableValue): string | number | boolean {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  return printable(value instanceof Error ? describeError(value) : value);
}

/** Text of bounded length and without broken characters, which JSON parsers disagree about. */
export function printable(text: string): string {
  if (text.length <= LONGEST_TEXT) return text.toWellFormed();
  return `${text.slice(0, LONGEST_TEXT).toWellFormed()}... (${text.length - LONGEST_TEXT} characters more)`;
}

/**
 * One line for an error and what caused it. Node's own errors put the useful part there: a refused connection can be an
 * AggregateError without a message, and `fetch failed` says why in its cause only.
 */
export function describeError(error: unknown, depth: number = DEEPEST_CAUSE): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message === '' ? describeUnnamed(error, depth) : error.message;
  if (error.cause === undefined || depth <= 1) return own;
  const cause = describeError(error.cause, depth - 1);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

function describeUnnamed(error: Error, depth: number): string {
  if (error instanceof AggregateError && error.errors.length > 0 && depth > 1) {
    return error.errors
      .slice(0, DEEPEST_CAUSE)
      .map((inner: unknown) => describeError(inner, depth - 1))
      .join('; ');
  }
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
