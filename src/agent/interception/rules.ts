/** One option of a rule, with whether a `!` stood before it. */
export interface Match {
  readonly inverted: boolean;
  readonly value: string;
}

/** A rule of iptables, as far as it matters here. */
export interface Rule {
  readonly chain: string;
  /** What follows the chain's name, exactly as printed, so that the rule can be deleted by it. */
  readonly specification: string;
  readonly source: Match | undefined;
  readonly destination: Match | undefined;
  readonly inInterface: Match | undefined;
  readonly outInterface: Match | undefined;
  readonly protocol: Match | undefined;
  readonly destinationPort: Match | undefined;
  readonly comment: string | undefined;
  /** False when its quotes are unbalanced; the whole text is then in `others`. */
  readonly isReadable: boolean;
  /** Of `-j` or `-g`; undefined when the rule only counts. */
  readonly target: string | undefined;
  /** Options of the target: `--to-destination 192.0.2.1:80` as ['--to-destination', '192.0.2.1:80']. */
  readonly targetOptions: readonly string[];
  /** Every word that is none of the above: the rule has a condition or an effect that is not known here. */
  readonly others: readonly string[];
}

/**
 * Reads what `iptables -S` or `iptables-save` prints (iptables/iptables.c, print_rule4; xtables_save_string for the
 * quoting). Lines that are no rules are left out; a rule that cannot be read comes with its text in `others`.
 */
export function parseRules(text: string): Rule[] {
  const rules: Rule[] = [];
  for (const line of text.split('\n')) {
    // iptables-save -c prints counters first.
    const match = /^(?:\[\d+:\d+\] )?-A (\S+) ?(.*)$/.exec(line);
    if (match === null) continue;
    const [, chain = '', specification = ''] = match;
    rules.push(parseRule(chain, specification));
  }
  return rules;
}

type SimpleField = 'source' | 'destination' | 'inInterface' | 'outInterface' | 'protocol' | 'destinationPort';

const SIMPLE_FIELDS: ReadonlyMap<string, SimpleField> = new Map([
  ['-s', 'source'],
  ['-d', 'destination'],
  ['-i', 'inInterface'],
  ['-o', 'outInterface'],
  ['-p', 'protocol'],
  ['--dport', 'destinationPort'],
  ['--destination-port', 'destinationPort'],
]);

/** Matches that say nothing beyond the options read here. */
const PLAIN_MATCHES: ReadonlySet<string> = new Set(['tcp', 'comment']);

function parseRule(chain: string, specification: string): Rule {
  const words = splitWords(specification);
  const fields = new Map<SimpleField, Match>();
  const others: string[] = words === undefined ? [specification] : [];
  const targetOptions: string[] = [];
  let comment: string | undefined;
  let target: string | undefined;
  let inverted = false;
  const rest = [...(words ?? [])];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const field = SIMPLE_FIELDS.get(word);
    if (target !== undefined) targetOptions.push(word);
    else if (word === '!') inverted = true;
    else if (field !== undefined && !fields.has(field)) fields.set(field, { inverted, value: rest.shift() ?? '' });
    else if (word === '-m' && !inverted && PLAIN_MATCHES.has(rest[0] ?? '')) rest.shift();
    else if (word === '--comment' && comment === undefined) comment = rest.shift() ?? '';
    else if (word === '-j' || word === '-g') target = rest.shift() ?? '';
    else others.push(inverted ? `! ${word}` : word);
    if (word !== '!') inverted = false;
  }
  return {
    chain,
    specification,
    source: fields.get('source'),
    destination: fields.get('destination'),
    inInterface: fields.get('inInterface'),
    outInterface: fields.get('outInterface'),
    protocol: fields.get('protocol'),
    destinationPort: fields.get('destinationPort'),
    comment,
    isReadable: words !== undefined,
    target,
    targetOptions,
    others,
  };
}

/** Splits at blanks, minding double quotes and backslashes; undefined when a quote is not closed. */
function splitWords(text: string): string[] | undefined {
  const words: string[] = [];
  const word = /\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)/y;
  const end = text.trimEnd().length;
  while (word.lastIndex < end) {
    const found = word.exec(text);
    if (found === null) return undefined;
    words.push(found[1]?.replaceAll(/\\(.)/g, '$1') ?? found[2] ?? '');
  }
  return words;
}
