import type { Environment } from '#runtime/environment.ts';
import { type FlagsOf, keyOf, type Option, type Options } from './option.ts';
import type { Words } from './words.ts';

export interface ReadFlags<O extends Options> {
  /** Of use only without problems. */
  readonly flags: FlagsOf<O>;
  /** The names of the flags that the command line or the environment gives. */
  readonly given: ReadonlySet<string>;
  /** One problem for each required flag that is not given. */
  readonly missing: readonly string[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** Reads the value of each option from the command line, else from its environment variable, else takes its default. */
export function readFlags<O extends Options>(options: O, words: Words, env: Environment): ReadFlags<O> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const missing: string[] = [];
  const given = new Set<string>();
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    values[keyOf(name, option)] = option.absent;
    const source = findSource(name, option, words, env);
    if (source === undefined) {
      if (option.required === true) missing.push(`${option.positional ?? `--${name}`} must be given`);
      continue;
    }
    given.add(name);
    if (option.deprecated !== undefined) warnings.push(`--${name} ${option.deprecated}`);
    const parsed = source.text === undefined ? source : option.parse(source.text);
    if (parsed.ok) values[keyOf(name, option)] = parsed.value;
    else problems.push(`${source.label} ${escapeUnprintable(parsed.reason)}`);
  }
  return { flags: trustKeys(values), given, missing, problems, warnings };
}

/** Safe: each value was parsed by the option of the same name. */
function trustKeys<O extends Options>(values: Record<string, unknown>): FlagsOf<O> {
  return values as FlagsOf<O>;
}

/** A flag's text and the name that problems give it, or why there is none. */
type Source =
  | { readonly label: string; readonly text: string }
  | { readonly label: string; readonly text: undefined; readonly ok: false; readonly reason: string };

function findSource(name: string, option: Option<unknown, string>, words: Words, env: Environment): Source | undefined {
  if (option.positional !== undefined) {
    const text = words.positionals[1];
    return text === undefined ? undefined : { label: 'the argument', text };
  }
  const word = words.flags.get(name);
  if (word === undefined) {
    const variable = option.environmentVariable ?? '';
    const text = env[variable] ?? '';
    return text === '' ? undefined : { label: `${variable}=${show(text)} (environment)`, text };
  }
  const { asGiven: label, text } = word;
  if (text === '' && option.isEmptyAbsent === true) return undefined;
  const isNegated = label !== `--${name}`;
  if (isNegated && !option.isSwitch)
    return { label, text: undefined, ok: false, reason: 'is unknown: the flag takes a value' };
  if (text === undefined) return { label, text, ok: false, reason: 'needs a value' };
  return { label: isNegated ? label : `${label}=${show(text)}`, text };
}

const LONGEST_SHOWN = 100;

/** A value as shown in a problem: on one line, shortened. */
export function show(text: string): string {
  const cut = text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}...` : text;
  return /^[\x21-\x7e]+$/.test(cut) ? cut : escapeUnprintable(JSON.stringify(cut));
}

function escapeUnprintable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
