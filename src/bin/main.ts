import { withDaemonArguments } from './daemon-arguments.ts';
import { type CommandLine, DOCTOR_TARGETS, type DoctorLine, parseCommandLine } from './flags/command-line.ts';
import type { CommandName, DoctorTarget } from './flags/commands.ts';
import { kiamVersion } from './version.ts';

type Of<Kind extends CommandName> = Extract<CommandLine, { kind: Kind }>;

/** The commands of one program. Each takes over the process. */
export interface Commands {
  readonly agent?: (command: Of<'agent'>) => Promise<void> | void;
  readonly server?: (command: Of<'server'>) => Promise<void> | void;
  readonly health?: (command: Of<'health'>) => Promise<void> | void;
  readonly pki?: (command: Of<'pki'>) => Promise<void> | void;
  readonly policy?: (command: Of<'policy'>) => Promise<void> | void;
  readonly kube2iam?: (command: Of<'kube2iam'>) => Promise<void> | void;
  readonly explain?: (command: Of<'explain'>) => Promise<void> | void;
  readonly status?: (command: Of<'status'>) => Promise<void> | void;
  readonly export?: (command: Of<'export'>) => Promise<void> | void;
  readonly whois?: (command: Of<'whois'>) => Promise<void> | void;
  readonly doctor?: DoctorCommands;
}

/** From where this program's doctor can look. */
export type DoctorCommands = {
  readonly [Target in DoctorTarget]?: (line: Extract<DoctorLine, { kind: Target }>) => Promise<void>;
};

/** Reads the command line and runs its command; help and problems are printed, and problems exit 1. */
export async function main(commands: Commands, argv = process.argv.slice(2)): Promise<void> {
  const { agent, server, health, pki, policy, kube2iam, explain, status, export: leave, whois, doctor } = commands;
  const offered: readonly (readonly [CommandName, unknown])[] = [
    ['agent', agent],
    ['server', server],
    ['health', health],
    ['pki', pki],
    ['policy', policy],
    ['kube2iam', kube2iam],
    ['explain', explain],
    ['status', status],
    ['export', leave],
    ['whois', whois],
    ['doctor', doctor],
  ];
  const command = await parseCommandLine(withDaemonArguments(argv), process.env, {
    version: kiamVersion(),
    commands: offered.filter(([, run]) => run !== undefined).map(([name]) => name),
    doctorTargets: DOCTOR_TARGETS.filter((target) => doctor?.[target] !== undefined),
  });
  // No timer of the clock keeps a process alive, and so none that a command waits for.
  const alive = setInterval(() => {}, 0x7fffffff);
  try {
    return await run(command, commands);
  } finally {
    clearInterval(alive);
  }
}

async function run(
  command: CommandLine,
  { agent, server, health, pki, policy, kube2iam, explain, status, export: leave, whois, doctor }: Commands,
): Promise<void> {
  switch (command.kind) {
    case 'agent':
      return agent?.(command);
    case 'server':
      return server?.(command);
    case 'health':
      return health?.(command);
    case 'pki':
      return pki?.(command);
    case 'policy':
      return policy?.(command);
    case 'kube2iam':
      return kube2iam?.(command);
    case 'explain':
      return explain?.(command);
    case 'status':
      return status?.(command);
    case 'export':
      return leave?.(command);
    case 'whois':
      return whois?.(command);
    case 'doctor':
      return runDoctor(doctor ?? {}, command.doctor);
    case 'help':
    case 'version':
      process.stdout.write(`${command.text.trimEnd()}\n`);
      return undefined;
    case 'problems':
      process.stderr.write(command.problems.map((problem) => `kiam: error: ${problem}\n`).join(''));
      process.stderr.write('kiam: try --help\n');
      process.exitCode = 1;
      return undefined;
  }
}

async function runDoctor(doctor: DoctorCommands, line: DoctorLine): Promise<void> {
  switch (line.kind) {
    case 'agent':
      return doctor.agent?.(line);
    case 'server':
      return doctor.server?.(line);
    case 'pod':
      return doctor.pod?.(line);
    case 'cluster':
      return doctor.cluster?.(line);
  }
}
