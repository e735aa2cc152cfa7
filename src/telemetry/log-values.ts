import { describeError } from '#runtime/errors.ts';

/** Longer texts are cut: an annotation may have 256 KiB, and a line over 16 KiB is split by container runtimes. */
const LONGEST_TEXT = 4096;

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
