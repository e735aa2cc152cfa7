import yargs from 'yargs';
import type { Option, Options, OptionValues } from './option.ts';

export interface ReadOptions<O extends Options> {
  readonly values: OptionValues<O>;
  /** The names of the flags that the command line or the environment gives. */
  readonly given: ReadonlySet<string>;
  /** Required flags that are not given. */
  readonly missing: readonly string[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** What stands on a command line, before any flag is judged. */
export interface Words {
  readonly positionals: readonly string[];
  /** By name, without dashes; `false` is the `--no-` form or a boolean that is switched off. */
  readonly flags: ReadonlyMap<string, unknown>;
  /** Words with a dash that can be no flag of ours. */
  readonly refused: readonly string[];
  readonly tokens: readonly string[];
}

/**
 * Splits a command line by yargs. A flag that is repeated has its last value, as in Kiam. yargs is told nothing but types, so
 * that it neither prints, exits nor looks at the process, and every problem can be named at once.
 */
export function splitWords(argv: readonly string[], options: Options): Words {
  const tokens = argv.filter((token) => !isRefused(token)).map(keepQuotes);
  const types = Object.entries(options).map(([name, { type }]): [string, { type: 'boolean' | 'string' }] => [
    name,
    { type: type === 'boolean' ? 'boolean' : 'string' },
  ]);
  const parsed: Record<string, unknown> = yargs([], '/')
    .scriptName('kiam')
    .locale('en')
    .exitProcess(false)
    .fail(false)
    .help(false)
    .version(false)
    .parserConfiguration({
      'camel-case-expansion': false,
      'dot-notation': false,
      'duplicate-arguments-array': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'short-option-groups': false,
    })
    .options(Object.fromEntries(types))
    .parseSync(tokens);
  const flags = new Map(Object.entries(parsed));
  const positionals = flags.get('_');
  flags.delete('_');
  flags.delete('$0');
  return {
    positionals: Array.isArray(positionals) ? positionals.map(String) : [],
    flags,
    refused: argv.filter(isRefused),
    tokens: argv,
  };
}

/**
 * There are no short flags, though yargs takes `-port=1` for one. Some long ones mean something to yargs itself: its results
 * stand under the first two names, the third prints completions, and it looks up names in plain objects, where `constructor`
 * is always found.
 */
function isRefused(token: string): boolean {
  if (/^-[^-]/.test(token)) return !/^-\d+(\.\d+)?$/.test(token);
  const name = /^--(?:no-)?([^=]*)/.exec(token)?.[1];
  return name === '_' || name === '$0' || name === 'get-yargs-completions' || (name !== undefined && name in {});
}

/** yargs strips one pair of quotes from `--flag="value"`, which Kiam takes as part of the value: it is given a second pair. */
function keepQuotes(token: string): string {
  const parts = /^(--[^=]+=)(["'])(.*)$/s.exec(token);
  if (parts === null || !token.endsWith(parts[2] ?? '')) return token;
  return `${parts[1] ?? ''}"${token.slice((parts[1] ?? '').length)}"`;
}

export function readOptions<O extends Options>(
  options: O,
  words: Words,
  env: Readonly<Record<string, string | undefined>>,
): ReadOptions<O> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const missing: string[] = [];
  const given = new Set<string>();
  const read = ([name, option]: [string, Option<unknown>]): [string, unknown] => {
    const source = findSource(name, option, words, env);
    if (source === undefined) {
      if (option.required) missing.push(name);
      return [name, option.absent];
    }
    given.add(name);
    if (option.deprecated !== undefined) warnings.push(`--${name} ${option.deprecated}`);
    const parsed = source.ok ? option.parse(source.text) : source;
    if (parsed.ok) return [name, parsed.value];
    problems.push(`${source.label} ${escapeUnprintable(parsed.reason)}`);
    return [name, option.absent];
  };
  const values = Object.fromEntries(Object.entries(options).map(read));
  return { values: trustNames(values), given, missing, problems, warnings };
}

/** Each name's value came out of the option of that name, which is what the type says. */
function trustNames<O extends Options>(values: Record<string, unknown>): OptionValues<O> {
  return values as OptionValues<O>;
}

type Source =
  | { readonly ok: true; readonly label: string; readonly text: string }
  | { readonly ok: false; readonly label: string; readonly reason: string };

function findSource(
  name: string,
  option: Option<unknown>,
  words: Words,
  env: Readonly<Record<string, string | undefined>>,
): Source | undefined {
  const value = words.flags.get(name);
  if (value === undefined) {
    const variable = option.environmentVariable;
    const text = variable === undefined ? undefined : env[variable];
    if (variable === undefined || text === undefined || text === '') return undefined;
    return { ok: true, label: `${variable}=${show(text)} (environment)`, text };
  }
  if (option.type === 'boolean') return booleanSource(name, value, words.tokens);
  if (typeof value !== 'string')
    return { ok: false, label: `--no-${name}`, reason: 'is unknown: the flag takes a value' };
  if (value === '' && lacksValue(name, words.tokens)) {
    return { ok: false, label: `--${name}`, reason: 'needs a value' };
  }
  return { ok: true, label: `--${name}=${show(value)}`, text: value };
}

/** yargs takes every text but `true` for false; what really stands there is told instead. */
function booleanSource(name: string, value: unknown, tokens: readonly string[]): Source {
  const prefix = `--${name}=`;
  const text = tokens.find((token) => token.startsWith(prefix))?.slice(prefix.length) ?? String(value);
  const valid = text === 'true' || text === 'false';
  return { ok: true, label: `--${name}=${show(text)}`, text: valid ? String(value) : text };
}

/** yargs gives `''` to a flag at the end or before another flag as well as to `--flag=`. */
function lacksValue(name: string, tokens: readonly string[]): boolean {
  return !tokens.some((token, index) => token === `--${name}=` || (token === `--${name}` && tokens[index + 1] === ''));
}

const LONGEST_SHOWN = 100;

/** A value as a problem shows it: on one line and not too long. */
export function show(text: string): string {
  const cut = text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}...` : text;
  return /^[\x21-\x7e]+$/.test(cut) ? cut : escapeUnprintable(JSON.stringify(cut));
}

function escapeUnprintable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
