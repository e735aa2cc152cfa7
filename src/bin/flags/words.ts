import { parseArgs } from 'node:util';

/** What stands on a command line, before any flag is judged. */
export interface Words {
  /** The command, and what else stands without dashes. */
  readonly positionals: readonly string[];
  /** By name, without dashes. A flag that is repeated has its last text, as in Kiam. */
  readonly flags: ReadonlyMap<string, Given>;
  /** What can be no flag of any command, as it stands. */
  readonly unknown: ReadonlySet<string>;
  readonly given: readonly string[];
}

/** `text` is undefined where a value is missing; `asGiven` is the flag with its dashes. */
export interface Given {
  readonly asGiven: string;
  readonly text: string | undefined;
}

/** Whether a flag is a switch, which takes no word after it; undefined for one that no command has. */
export type IsSwitch = (name: string) => boolean | undefined;

/**
 * Splits a command line. Node's parser is told nothing about the flags, so that it never refuses, and every problem can be
 * named at once; whether a flag takes the next word is decided here. The one short flag is kubectl's `-f`.
 */
export function splitWords(argv: readonly string[], isSwitch: IsSwitch): Words {
  const { tokens } = parseArgs({ args: [...argv], strict: false, tokens: true });
  const positionals: string[] = [];
  const flags = new Map<string, Given>();
  const unknown = new Set<string>();
  let valueIndex = -1;
  for (const token of tokens) {
    if (token.index === valueIndex) continue;
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { index, value: text } = token;
    const asGiven = token.rawName === '-f' ? '--file' : token.rawName;
    const name = asGiven === '--file' ? 'file' : token.name;
    const negated = name.startsWith('no-') && text === undefined ? name.slice(3) : '';
    if (!asGiven.startsWith('--')) unknown.add(argv[index] ?? asGiven);
    else if (isSwitch(name) === true) flags.set(name, { asGiven, text: text ?? 'true' });
    else if (isSwitch(name) === false) {
      const next = argv[index + 1];
      const takesNext = text === undefined && next !== undefined && !next.startsWith('--');
      if (takesNext) valueIndex = index + 1;
      flags.set(name, { asGiven, text: takesNext ? next : text });
    } else if (isSwitch(negated) === undefined) unknown.add(asGiven);
    else flags.set(negated, { asGiven, text: 'false' });
  }
  return { positionals, flags, unknown, given: argv };
}
