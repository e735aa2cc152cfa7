import { type CommandLine, type CommandName, parseCommandLine } from './flags/command-line.ts';
import { kiamVersion } from './version.ts';

type Of<Kind extends CommandName> = Extract<CommandLine, { kind: Kind }>;

/** The commands of one program. Each takes over the process. */
export interface Commands {
  readonly agent?: (command: Of<'agent'>) => Promise<void> | void;
  readonly server?: (command: Of<'server'>) => Promise<void> | void;
  readonly health?: (command: Of<'health'>) => Promise<void> | void;
  readonly pki?: (command: Of<'pki'>) => Promise<void> | void;
  readonly explain?: (command: Of<'explain'>) => Promise<void> | void;
}

/** Reads the command line and runs its command; help and problems are printed, and problems exit 1. */
export async function main({ agent, server, health, pki, explain }: Commands): Promise<void> {
  const offered: readonly (readonly [CommandName, unknown])[] = [
    ['agent', agent],
    ['server', server],
    ['health', health],
    ['pki', pki],
    ['explain', explain],
  ];
  const command = await parseCommandLine(process.argv.slice(2), process.env, {
    version: kiamVersion(),
    commands: offered.filter(([, run]) => run !== undefined).map(([name]) => name),
  });
  switch (command.kind) {
    case 'agent':
      return agent?.(command);
    case 'server':
      return server?.(command);
    case 'health':
      return health?.(command);
    case 'pki':
      return pki?.(command);
    case 'explain':
      return explain?.(command);
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
