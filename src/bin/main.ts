import { withDaemonArguments } from './daemon-arguments.ts';
import {
  ALL_COMMANDS,
  type AskedBy,
  type CommandLine,
  DOCTOR_TARGETS,
  type DoctorLine,
  parseCommandLine,
} from './flags/command-line.ts';
import type { DoctorTarget } from './flags/commands.ts';
import { kiamVersion } from './version.ts';

/** The commands of one program. Each one sets the exit code or ends the process itself. */
export type Commands = Runs<keyof AskedBy> & { readonly doctor?: DoctorCommands };

type Runs<Kind extends keyof AskedBy> = {
  readonly [Name in Kind]?: (command: AskedBy[Name]) => Promise<void> | void;
};

/** The targets of this program's doctor. */
export type DoctorCommands = {
  readonly [Target in DoctorTarget]?: (line: Extract<DoctorLine, { kind: Target }>) => Promise<void>;
};

/** Reads the command line and runs its command; prints help and problems; problems exit 1. */
export async function main(commands: Commands, argv = process.argv.slice(2)): Promise<void> {
  const command = await parseCommandLine(withDaemonArguments(argv), process.env, {
    version: kiamVersion(),
    commands: ALL_COMMANDS.filter((name) => commands[name] !== undefined),
    doctorTargets: DOCTOR_TARGETS.filter((target) => commands.doctor?.[target] !== undefined),
  });
  // No timer of the clock keeps a process alive, and so none that a command waits for.
  const alive = setInterval(() => {}, 0x7fffffff);
  try {
    return await run(command, commands);
  } finally {
    clearInterval(alive);
  }
}

async function run(command: CommandLine, commands: Commands): Promise<void> {
  switch (command.kind) {
    case 'doctor':
      return runDoctor(commands.doctor ?? {}, command.doctor);
    case 'help':
    case 'version':
      process.stdout.write(`${command.text.trimEnd()}\n`);
      return undefined;
    case 'problems':
      process.stderr.write(command.problems.map((problem) => `kiam: error: ${problem}\n`).join(''));
      process.stderr.write('kiam: try --help\n');
      process.exitCode = 1;
      return undefined;
    default:
      return start(commands, command);
  }
}

function start<Kind extends keyof AskedBy>(
  commands: Runs<Kind>,
  command: { readonly [Name in Kind]: AskedBy[Name] & { readonly kind: Name } }[Kind],
): Promise<void> | void {
  return commands[command.kind]?.(command);
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
