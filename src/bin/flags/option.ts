/** What a text means, or why it means nothing: a reason completes the sentence `--flag=value ...`. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** Reads the text of a flag. `unit` is the unit of the value; the name of the parsed value ends with it. */
export interface Parser<T, Unit extends string = ''> {
  (text: string): Parsed<T>;
  readonly unit?: Unit;
}

/** One flag. Help, docs/flags.md, types and the parsed value all derive from it. */
export interface Option<T, Unit extends string = ''> {
  /** The heading of the help that it stands under. */
  readonly group: string;
  readonly describe: string;
  readonly isSwitch: boolean;
  readonly parse: Parser<T, Unit>;
  /** The value when the flag is not given. */
  readonly absent: T;
  /** How the help shows that value; undefined for nothing. */
  readonly defaultText: string | undefined;
  readonly required?: true;
  /** Whether an empty text counts as not given. */
  readonly isEmptyAbsent?: true;
  /** How the help names the word after the command, where this is that word and no flag. */
  readonly positional?: string;
  /** Read when the flag is not given; an empty variable counts as none. */
  readonly environmentVariable?: string;
  /** Why the flag is accepted and does nothing; said once as a warning when it is given. */
  readonly deprecated?: string;
}

export type Options = Readonly<Record<string, Option<unknown, string>>>;

/** `grpc-keepalive-timeout-duration` is `grpcKeepaliveTimeoutDuration`. */
type CamelCase<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<CamelCase<Rest>>}`
  : Name;

/** What a command gets: the value of `--max-view-age`, a duration, is `maxViewAgeMs`, that of `--json-log` is `jsonLog`. */
export type FlagsOf<O extends Options> = {
  readonly [
    Name in keyof O & string as O[Name] extends Option<unknown, infer Unit> ? `${CamelCase<Name>}${Unit}` : never
  ]: O[Name] extends Option<infer T, string> ? T : never;
};

/** The name of a flag's value in {@link FlagsOf}. */
export function keyOf(name: string, { parse }: Option<unknown, string>): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase()) + (parse.unit ?? '');
}

type Extras = Pick<Option<unknown>, 'environmentVariable' | 'deprecated'>;

/** `--flag`, `--no-flag`; also `--flag=true` and `--flag=false`, in each of Go's forms (strconv.ParseBool). */
export function toggle(group: string, describe: string, { absent = false } = {}): Option<boolean> {
  const parse = (text: string): Parsed<boolean> =>
    /^(?:1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)$/.test(text)
      ? { ok: true, value: /^[1tT]/.test(text) }
      : { ok: false, reason: 'is neither true nor false' };
  return { group, describe, isSwitch: true, parse, absent, defaultText: absent ? 'true' : undefined };
}

/** A switch that may be given a value: `--flag` is `--flag=true`, `--no-flag` is `--flag=false`. */
export function switchWithValue<T>(group: string, parse: Parser<T>, absent: T, describe: string): Option<T> {
  return { group, describe, isSwitch: true, parse, absent, defaultText: undefined };
}

/** A flag with a default, which is written and parsed like any other value. */
export function value<T, Unit extends string = ''>(
  group: string,
  parse: Parser<T, Unit>,
  defaultText: string,
  describe: string,
  extras: Extras = {},
): Option<T, Unit> {
  const absent = parse(defaultText);
  if (!absent.ok) throw new Error(`the default ${defaultText} ${absent.reason}`);
  const shown = defaultText === '' ? undefined : defaultText;
  return { group, describe, isSwitch: false, parse, absent: absent.value, defaultText: shown, ...extras };
}

/** A flag that may be left out: its value is then undefined, which the help shows as `defaultText`. */
export function optional<T, Unit extends string = ''>(
  group: string,
  parse: Parser<T, Unit>,
  defaultText: string | undefined,
  describe: string,
): Option<T | undefined, Unit> {
  return { group, describe, isSwitch: false, parse, absent: undefined, defaultText };
}

/** A required flag; `absent` is its value until the missing flag is reported. */
export function required<T>(
  group: string,
  parse: Parser<T>,
  absent: T,
  describe: string,
  extras: Extras = {},
): Option<T> {
  return { group, describe, isSwitch: false, parse, absent, defaultText: undefined, required: true, ...extras };
}

/** The required argument after the command; `name` is how the help names it. */
export function argument<T>(name: string, parse: Parser<T>, absent: T, describe: string): Option<T> {
  return { ...required('', parse, absent, describe), positional: name };
}
