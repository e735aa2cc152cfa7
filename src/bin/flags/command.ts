import type { Environment } from '#runtime/environment.ts';
import type { FlagsOf, Options } from './option.ts';
import { readFlags } from './read-flags.ts';
import type { Words } from './words.ts';

/** A command and its values. Warnings are one line each. */
export interface Asked<Kind extends string, O extends Options> {
  readonly kind: Kind;
  readonly flags: FlagsOf<O>;
  readonly warnings: readonly string[];
}

export interface Command<Kind extends string = string, O extends Options = Options> {
  readonly describe: string;
  readonly options: O;
  /** `asked` is of use only without problems. */
  readonly read: (
    words: Words,
    env: Environment,
  ) => { readonly asked: Asked<Kind, O>; readonly problems: readonly string[] };
}

interface Rules<O extends Options> {
  /** What is wrong with several flags together; `given` are the names of the flags that are given. */
  readonly problems?: (flags: FlagsOf<O>, given: ReadonlySet<string>) => readonly string[];
  readonly warnings?: (flags: FlagsOf<O>, given: ReadonlySet<string>) => readonly string[];
  /** Whether required flags may be missing. */
  readonly needsNothing?: (flags: FlagsOf<O>) => boolean;
}

export function command<Kind extends string, O extends Options>(
  kind: Kind,
  describe: string,
  options: O,
  rules: Rules<O> = {},
): Command<Kind, O> {
  return {
    describe,
    options,
    read: (words, env) => {
      const { flags, given, missing, problems, warnings } = readFlags(options, words, env);
      const needed = rules.needsNothing?.(flags) === true ? [] : missing;
      return {
        asked: { kind, flags, warnings: [...warnings, ...(rules.warnings?.(flags, given) ?? [])] },
        problems: [...needed, ...problems, ...(rules.problems?.(flags, given) ?? [])],
      };
    },
  };
}
