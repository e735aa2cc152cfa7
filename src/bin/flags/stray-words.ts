import type { Options } from './option.ts';
import { show, type Words } from './read-options.ts';

export interface Known {
  /** The flags of the command. */
  readonly options: Options;
  /** Words without dashes that stand before those that are too many. */
  readonly positionals: number;
  /** Every flag of every command, and whose each is. */
  readonly others: readonly { readonly name: string; readonly options: Options }[];
}

/** One problem for each word that the command does not know. */
export function strayWords(words: Words, { options, positionals, others }: Known): string[] {
  const problems = words.positionals.slice(positionals).map((word) => `unexpected argument ${show(word)}`);
  problems.push(...words.refused.map((word) => `unknown flag ${show(word)}`));
  for (const [name, value] of words.flags) {
    if (Object.hasOwn(options, name) || name === 'help' || name === 'version') continue;
    const owner = others.find((other) => Object.hasOwn(other.options, name));
    const dashes = name.length === 1 ? '-' : value === false && owner === undefined ? '--no-' : '--';
    problems.push(`unknown flag ${show(dashes + name)}${owner === undefined ? '' : ` (it belongs to ${owner.name})`}`);
  }
  return problems;
}
