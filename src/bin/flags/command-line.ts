import type { Environment } from '#runtime/environment.ts';
import { COMMANDS, type CommandName, DOCTOR, DOCTOR_DESCRIPTION, type DoctorTarget } from './commands.ts';
import { commandHelp, programHelp } from './help.ts';
import type { Options } from './option.ts';
import { show } from './read-flags.ts';
import { splitWords, type Words } from './words.ts';

type AskedOf<
  Table extends Readonly<Record<string, { readonly read: (...words: never[]) => { readonly asked: unknown } }>>,
> = {
  [Name in keyof Table]: ReturnType<Table[Name]['read']>['asked'];
}[keyof Table];

/** The values that each command gets, by its name. */
export type AskedBy = {
  readonly [Name in keyof typeof COMMANDS]: ReturnType<(typeof COMMANDS)[Name]['read']>['asked'];
};

/** The doctor also reports problems of the daemon's own flags, so they do not end it; `given` are the arguments as typed. */
export type DoctorLine = AskedOf<typeof DOCTOR> & { readonly problems: readonly string[]; readonly given: string };

/** The parsed command line. Texts are printed as they are; each problem is one line. */
export type CommandLine =
  | AskedOf<typeof COMMANDS>
  | { readonly kind: 'doctor'; readonly doctor: DoctorLine }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version'; readonly text: string }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

export interface CommandLineOptions {
  readonly version: string;
  /** The commands that this program offers; the agent's image has no `server`. All unless given. */
  readonly commands?: readonly CommandName[];
  /** From where this program's doctor can look. All unless given. */
  readonly doctorTargets?: readonly DoctorTarget[];
}

export const ALL_COMMANDS: readonly CommandName[] = [
  'agent',
  'server',
  'health',
  'pki',
  'policy',
  'kube2iam',
  'convert',
  'explain',
  'status',
  'export',
  'whois',
  'doctor',
];

export const DOCTOR_TARGETS: readonly DoctorTarget[] = ['agent', 'server', 'pod', 'cluster'];

/** Every command with its flags. The doctor comes last: what it shares with a daemon is said to belong to the daemon. */
const OWNERS: readonly { readonly name: string; readonly options: Options }[] = [
  ...Object.entries(COMMANDS).map(([name, { options }]) => ({ name, options })),
  ...Object.values(DOCTOR).map(({ options }) => ({ name: 'doctor', options })),
];

/**
 * Reads the arguments after the program's name (docs/specification.md, 2). Total: it neither prints nor exits, and names every
 * problem at once, where Kiam stops at the first. Files that flags name are looked at, nothing else.
 */
export async function parseCommandLine(
  argv: readonly string[],
  env: Environment,
  { version, commands = ALL_COMMANDS, doctorTargets = DOCTOR_TARGETS }: CommandLineOptions,
): Promise<CommandLine> {
  const words = splitWords(argv, isSwitch);
  const [first, ...others] = words.positionals;
  const asksHelp = words.flags.get('help')?.text === 'true' || first === 'help';
  const [word, second] = first === 'help' ? others : words.positionals;
  const name = commands.find((offered) => offered === word);
  if (asksHelp) return { kind: 'help', text: await helpText(name, second, commands, doctorTargets) };
  if (words.flags.get('version')?.text === 'true') return { kind: 'version', text: `kiam ${version}` };
  if (name === undefined) return { kind: 'problems', problems: [commandProblem(word, commands)] };
  if (name === 'doctor') return doctorLine(words, env, doctorTargets);
  const { options, read } = COMMANDS[name];
  const { asked, problems } = read(words, env);
  const positionals = Object.values(options).some(isPositional) ? 2 : 1;
  const found = [...unknownArguments(words, options, positionals), ...problems];
  return found.length > 0 ? { kind: 'problems', problems: found } : asked;
}

function isPositional(option: Options[string]): boolean {
  return option.positional !== undefined;
}

/** A flag that is a switch in one command is a switch in all of them; the same for flags with values. */
function isSwitch(name: string): boolean | undefined {
  if (name === 'help' || name === 'version') return true;
  const owner = OWNERS.find(({ options }) => Object.hasOwn(options, name));
  const option = owner?.options[name];
  return option === undefined || isPositional(option) ? undefined : option.isSwitch;
}

/** One problem for each argument that the command does not know. */
function unknownArguments({ positionals, flags, unknown }: Words, options: Options, known: number): string[] {
  const problems = positionals.slice(known).map((word) => `unexpected argument ${show(word)}`);
  problems.push(...[...unknown].map((word) => `unknown flag ${show(word)}${FORMER_FLAGS.get(word) ?? ''}`));
  for (const [name, { asGiven }] of flags) {
    if (Object.hasOwn(options, name) || name === 'help' || name === 'version') continue;
    const owner = OWNERS.find((other) => Object.hasOwn(other.options, name))?.name ?? '';
    problems.push(`unknown flag ${show(asGiven)} (it belongs to ${owner})`);
  }
  return problems;
}

/** Flags of Kiam 2 and 3, and what Kiam 4 and this program have instead. */
export const FORMER_FLAGS: ReadonlyMap<string, string> = new Map([
  ['--whitelist-route-regexp', ': since Kiam 4 it is --allow-route-regexp'],
  ['--grpc-keepalive-time-ms', ': since Kiam 4 it is --grpc-keepalive-time-duration'],
  ['--grpc-keepalive-timeout-ms', ': since Kiam 4 it is --grpc-keepalive-timeout-duration'],
  ...['--statsd', '--statsd-interval', '--statsd-prefix'].map((flag): [string, string] => [
    flag,
    ': StatsD went with Kiam 4; metrics are at --prometheus-listen-addr',
  ]),
]);

/** Without a target the doctor checks the cluster, in programs that can. */
function doctorLine(words: Words, env: Environment, targets: readonly DoctorTarget[]): CommandLine {
  const word = words.positionals[1] ?? 'cluster';
  const target = targets.find((name) => name === word);
  if (target === undefined) {
    const problem = `doctor ${show(word)} is not in this program: it looks from ${targets.join(', ')}`;
    return { kind: 'problems', problems: [problem] };
  }
  const { options, read } = DOCTOR[target];
  const { asked, problems } = read(words, env);
  const found = [...unknownArguments(words, options, 2), ...problems];
  const isDaemon = asked.kind === 'agent' || asked.kind === 'server';
  if (found.length > 0 && !isDaemon) return { kind: 'problems', problems: found };
  const given = words.given.filter((token) => token !== 'doctor').join(' ');
  return { kind: 'doctor', doctor: { ...asked, problems: found, given } };
}

function commandProblem(word: string | undefined, commands: readonly CommandName[]): string {
  const offered = commands.join(', ');
  if (word === undefined) return `no command is given: it must be one of ${offered}`;
  const exists = ALL_COMMANDS.some((name) => name === word);
  if (exists) return `this program has no ${word}, which comes in an image of its own; it offers ${offered}`;
  return `unknown command ${show(word)}: it must be one of ${offered}`;
}

const DOCTOR_ALONE =
  "In a daemon's own container `kiam doctor` is enough: it takes the daemon's flags. Elsewhere it means cluster.";

async function helpText(
  name: CommandName | undefined,
  word: string | undefined,
  commands: readonly CommandName[],
  targets: readonly DoctorTarget[],
): Promise<string> {
  if (name === undefined) {
    const describe = { ...COMMANDS, doctor: { describe: DOCTOR_DESCRIPTION } };
    return programHelp(commands.map((offered) => ({ name: offered, describe: describe[offered].describe })));
  }
  if (name !== 'doctor') return commandHelp(name, COMMANDS[name].describe, COMMANDS[name].options);
  const target = targets.find((known) => known === (word ?? 'cluster')) ?? targets[0] ?? 'cluster';
  const usage = targets.map((known) => `  kiam doctor ${known.padEnd(8)} ${DOCTOR[known].describe}`);
  const describe = [DOCTOR_DESCRIPTION, '', ...usage, '', DOCTOR_ALONE].join('\n');
  return commandHelp(`doctor ${target}`, describe, DOCTOR[target].options);
}
