import { AGENT_OPTIONS } from './agent-options.ts';
import { agentFlags, agentProblems } from './agent.ts';
import type { AgentFlags } from './agent.ts';
import { EXPLAIN_ARGUMENT, EXPLAIN_OPTIONS, explainFlags, explainProblems } from './explain.ts';
import type { ExplainFlags } from './explain.ts';
import { DOCTOR_OPTIONS, readDoctor } from './doctor.ts';
import type { DoctorFlags, DoctorTarget } from './doctor.ts';
import { HEALTH_OPTIONS, healthFlags } from './health.ts';
import type { HealthFlags } from './health.ts';
import { commandHelp, programHelp } from './help.ts';
import type { Options } from './option.ts';
import { PKI_OPTIONS, pkiFlags, pkiProblems } from './pki.ts';
import type { PkiFlags } from './pki.ts';
import { readOptions, show, splitWords } from './read-options.ts';
import type { Words } from './read-options.ts';
import { SERVER_OPTIONS } from './server-options.ts';
import { serverFlags, serverProblems, serverWarnings } from './server.ts';
import type { ServerFlags } from './server.ts';
import { strayWords } from './stray-words.ts';

export type CommandName = 'agent' | 'server' | 'health' | 'pki' | 'explain' | 'doctor';

/** What a command line asks for. Each text is to be printed as it is; warnings and problems are one line each. */
export type CommandLine =
  | { readonly kind: 'agent'; readonly flags: AgentFlags; readonly warnings: readonly string[] }
  | { readonly kind: 'server'; readonly flags: ServerFlags; readonly warnings: readonly string[] }
  | { readonly kind: 'health'; readonly flags: HealthFlags; readonly warnings: readonly string[] }
  | { readonly kind: 'pki'; readonly flags: PkiFlags; readonly warnings: readonly string[] }
  | { readonly kind: 'explain'; readonly flags: ExplainFlags; readonly warnings: readonly string[] }
  | { readonly kind: 'doctor'; readonly flags: DoctorFlags }
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

type Environment = Readonly<Record<string, string | undefined>>;

interface Command {
  readonly options: Options;
  readonly describe: string;
  /** What stands after the command's name; most commands take flags alone. */
  readonly argument?: string;
}

const COMMANDS: Readonly<Record<CommandName, Command>> = {
  agent: { options: AGENT_OPTIONS, describe: 'Answer the metadata API for the pods of this node' },
  server: { options: SERVER_OPTIONS, describe: 'Decide which pod may have which role, and assume roles at STS' },
  health: { options: HEALTH_OPTIONS, describe: 'Ask a server whether it is well; exit 0 or 1' },
  pki: { options: PKI_OPTIONS, describe: 'Make the certificates of both daemons, and print them as two Secrets' },
  explain: {
    options: EXPLAIN_OPTIONS,
    describe: 'Say what credentials one pod gets, and why',
    argument: EXPLAIN_ARGUMENT,
  },
  doctor: {
    options: DOCTOR_OPTIONS.cluster,
    describe: 'Look at everything that can be wrong and say how to mend it; exit 0 or 1',
  },
};

const ALL_COMMANDS: readonly CommandName[] = ['agent', 'server', 'health', 'pki', 'explain', 'doctor'];

const ALL_TARGETS: readonly DoctorTarget[] = ['agent', 'server', 'pod', 'cluster'];

/** Every flag of every command: a name means the same kind of value everywhere. */
const ALL_OPTIONS: Options = {
  ...AGENT_OPTIONS,
  ...SERVER_OPTIONS,
  ...HEALTH_OPTIONS,
  ...PKI_OPTIONS,
  ...EXPLAIN_OPTIONS,
  ...DOCTOR_OPTIONS.agent,
  ...DOCTOR_OPTIONS.server,
  ...DOCTOR_OPTIONS.cluster,
};

/**
 * Reads the arguments after the program's name (SPEC 2). Total: it neither prints nor exits, and names every problem at once,
 * where Kiam stops at the first. Files that flags name are looked at, nothing else.
 */
export async function parseCommandLine(
  argv: readonly string[],
  env: Environment,
  { version, commands = ALL_COMMANDS, doctorTargets = ALL_TARGETS }: CommandLineOptions,
): Promise<CommandLine> {
  const words = splitWords(argv, { ...ALL_OPTIONS, ...INFORMATION });
  const asksHelp = words.flags.get('help') === true || words.positionals[0] === 'help';
  const positionals = words.positionals[0] === 'help' ? words.positionals.slice(1) : words.positionals;
  const command = commands.find((name) => name === positionals[0]);
  if (asksHelp && command === 'doctor') return { kind: 'help', text: await doctorHelp(positionals[1], doctorTargets) };
  if (asksHelp) return { kind: 'help', text: await helpText(command, commands) };
  if (words.flags.get('version') === true) return { kind: 'version', text: `kiam ${version}` };
  if (command === undefined) return { kind: 'problems', problems: [commandProblem(positionals[0], commands)] };
  if (command === 'doctor') return doctorCommand(words, env, doctorTargets);
  const read = READERS[command](words, env);
  const { options, argument } = COMMANDS[command];
  const known = { options, positionals: argument === undefined ? 1 : 2, others: OWNERS };
  const problems = [...strayWords(words, known), ...read.problems];
  return problems.length > 0 ? { kind: 'problems', problems } : read.result;
}

/** Only the type of these matters: they are looked for before any flag is read. */
const INFORMATION: Options = {
  help: { ...AGENT_OPTIONS['json-log'] },
  version: { ...AGENT_OPTIONS['json-log'] },
};

interface ReadCommand {
  readonly problems: readonly string[];
  /** Of use only without problems. */
  readonly result: CommandLine;
}

const READERS: Readonly<Record<Exclude<CommandName, 'doctor'>, (words: Words, env: Environment) => ReadCommand>> = {
  agent: readAgent,
  server: readServer,
  health: readHealth,
  pki: readPki,
  explain: readExplain,
};

function readAgent(words: Words, env: Environment): ReadCommand {
  const { values, missing, problems, warnings } = readOptions(AGENT_OPTIONS, words, env);
  // The guard needs neither certificates nor an address: it refuses, whoever asks and whatever for.
  const needed = values['guard-only'] ? [] : missing;
  return {
    problems: [...missingProblems(needed), ...problems, ...agentProblems(values)],
    result: { kind: 'agent', flags: agentFlags(values), warnings },
  };
}

function readServer(words: Words, env: Environment): ReadCommand {
  const { values, given, missing, problems, warnings } = readOptions(SERVER_OPTIONS, words, env);
  return {
    problems: [...missingProblems(missing), ...problems, ...serverProblems(values, given)],
    result: { kind: 'server', flags: serverFlags(values), warnings: [...warnings, ...serverWarnings(values)] },
  };
}

function readHealth(words: Words, env: Environment): ReadCommand {
  const { values, missing, problems, warnings } = readOptions(HEALTH_OPTIONS, words, env);
  return {
    problems: [...missingProblems(missing), ...problems],
    result: { kind: 'health', flags: healthFlags(values), warnings },
  };
}

function readPki(words: Words, env: Environment): ReadCommand {
  const { values, problems, warnings } = readOptions(PKI_OPTIONS, words, env);
  return {
    problems: [...problems, ...pkiProblems(values)],
    result: { kind: 'pki', flags: pkiFlags(values), warnings },
  };
}

function readExplain(words: Words, env: Environment): ReadCommand {
  const { values, given, problems, warnings } = readOptions(EXPLAIN_OPTIONS, words, env);
  const argument = words.positionals[1] ?? '';
  return {
    problems: [...problems, ...explainProblems(values, given, argument)],
    result: { kind: 'explain', flags: explainFlags(values, argument), warnings },
  };
}

function missingProblems(missing: readonly string[]): string[] {
  return missing.map((name) => `--${name} must be given`);
}

/** Whose a flag is that another command does not know. */
const OWNERS = ALL_COMMANDS.map((name) => ({ name, options: COMMANDS[name].options }));

/** Without a target it looks at the cluster, where this program can. */
function doctorCommand(words: Words, env: Environment, targets: readonly DoctorTarget[]): CommandLine {
  const word = words.positionals[1] ?? 'cluster';
  const target = targets.find((name) => name === word);
  if (target === undefined) {
    const problem = `doctor ${show(word)} is not in this program: it looks from ${targets.join(', ')}`;
    return { kind: 'problems', problems: [problem] };
  }
  const stray = strayWords(words, { options: DOCTOR_OPTIONS[target], positionals: 2, others: OWNERS });
  const { flags, problems } = readDoctor(target, words, env, stray);
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'doctor', flags };
}

async function doctorHelp(word: string | undefined, targets: readonly DoctorTarget[]): Promise<string> {
  const target = targets.find((name) => name === (word ?? 'cluster')) ?? targets[0] ?? 'cluster';
  const usage = targets.map((name) => `  kiam doctor ${name.padEnd(8)} ${TARGETS[name]}`);
  const describe = [COMMANDS.doctor.describe, '', ...usage, '', DOCTOR_ALONE].join('\n');
  return commandHelp(`doctor ${target}`, describe, DOCTOR_OPTIONS[target]);
}

const TARGETS: Readonly<Record<DoctorTarget, string>> = {
  agent: 'this node, with the flags of its agent',
  server: "the server's own container, with the flags of the server",
  pod: "any pod's own way to its credentials",
  cluster: 'pods and namespaces, by a kubeconfig or the service account of a pod',
};

const DOCTOR_ALONE =
  "In a daemon's own container `kiam doctor` is enough: it takes the daemon's flags. Elsewhere it means cluster.";

function commandProblem(word: string | undefined, commands: readonly CommandName[]): string {
  const offered = commands.join(', ');
  if (word === undefined) return `no command is given: it must be one of ${offered}`;
  const exists = ALL_COMMANDS.some((name) => name === word);
  if (exists) return `this program has no ${word}, which comes in an image of its own; it offers ${offered}`;
  return `unknown command ${show(word)}: it must be one of ${offered}`;
}

async function helpText(command: CommandName | undefined, commands: readonly CommandName[]): Promise<string> {
  if (command === undefined) {
    return programHelp(commands.map((name) => ({ name, describe: COMMANDS[name].describe })));
  }
  const { argument, describe, options } = COMMANDS[command];
  return commandHelp(argument === undefined ? command : `${command} ${argument}`, describe, options);
}
