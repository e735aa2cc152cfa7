import { parseDuration } from '#runtime/duration.ts';

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** One flag: what it means, what it is without being given, and how its text is read. */
export interface Option<T> {
  readonly group: string;
  readonly describe: string;
  readonly type: 'boolean' | 'value';
  /** A reason completes the sentence `--flag=value ...`. */
  parse(text: string): Parsed<T>;
  /** The value when it is not given; for a required one what stands in its place until the problem is told. */
  readonly absent: T;
  /** How the help shows the default. */
  readonly defaultText: string | undefined;
  readonly required: boolean;
  /** Read when the flag is not given; an empty variable counts as none. */
  readonly environmentVariable: string | undefined;
  /** Why the flag is accepted and does nothing; said once as a warning when it is given. */
  readonly deprecated: string | undefined;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

export type OptionValues<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends Option<infer T> ? T : never;
};

interface Description {
  readonly group: string;
  readonly describe: string;
  readonly environmentVariable?: string;
  readonly deprecated?: string;
}

const UNSET = { defaultText: undefined, required: false, environmentVariable: undefined, deprecated: undefined };

/** `--flag`, `--no-flag`; also `--flag=true` and `--flag=false`. */
export function booleanOption(description: Description & { readonly default: boolean }): Option<boolean> {
  const parse = (text: string): Parsed<boolean> =>
    text === 'true' || text === 'false'
      ? { ok: true, value: text === 'true' }
      : { ok: false, reason: 'is neither true nor false' };
  const absent = description.default;
  return { ...UNSET, ...description, type: 'boolean', parse, absent, defaultText: String(absent) };
}

/** A flag with a default, which is given as text and read like any other value. */
export function valueOption<T>(
  description: Description & { readonly default: string; readonly parse: (text: string) => Parsed<T> },
): Option<T> {
  const absent = description.parse(description.default);
  if (!absent.ok) throw new Error(`the default ${description.default} ${absent.reason}`);
  return { ...UNSET, ...description, type: 'value', absent: absent.value, defaultText: description.default };
}

/** A flag that may be left out: its value is then undefined. */
export function optionalOption<T>(
  description: Description & { readonly parse: (text: string) => Parsed<T>; readonly defaultText?: string },
): Option<T | undefined> {
  return { ...UNSET, ...description, type: 'value', absent: undefined };
}

/** A flag that must be given. */
export function requiredOption<T>(
  description: Description & { readonly parse: (text: string) => Parsed<T>; readonly placeholder: T },
): Option<T> {
  return { ...UNSET, ...description, type: 'value', absent: description.placeholder, required: true };
}

export function parseName(text: string): Parsed<string> {
  return text === '' ? { ok: false, reason: 'is empty' } : { ok: true, value: text };
}

/** A Go duration in milliseconds, within bounds that are given as Go durations as well. */
export function durationParser(least: string, most: string): (text: string) => Parsed<number> {
  const leastMs = boundMs(least);
  const mostMs = boundMs(most);
  return (text) => {
    const valueMs = parseDuration(text);
    if (valueMs === undefined) return { ok: false, reason: 'is not a duration such as 300ms, 90s, 1m30s or 1.5h' };
    if (valueMs < leastMs) return { ok: false, reason: `is less than ${least}` };
    return valueMs > mostMs ? { ok: false, reason: `is more than ${most}` } : { ok: true, value: valueMs };
  };
}

function boundMs(text: string): number {
  const valueMs = parseDuration(text);
  if (valueMs === undefined) throw new Error(`${text} is not a duration`);
  return valueMs;
}

export function integerParser(least: number, most: number): (text: string) => Parsed<number> {
  return (text) => {
    const value = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most
      ? { ok: true, value }
      : { ok: false, reason: `is not a whole number from ${least} to ${most}` };
  };
}

export function choiceParser<T extends string>(choices: Readonly<Record<string, T>>): (text: string) => Parsed<T> {
  return (text) => {
    const value = Object.hasOwn(choices, text) ? choices[text] : undefined;
    return value === undefined
      ? { ok: false, reason: `is none of ${Object.keys(choices).join(', ')}` }
      : { ok: true, value };
  };
}
