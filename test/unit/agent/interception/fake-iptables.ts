import type { CommandOutcome, RunCommand } from '#agent/interception/command.ts';

/** A node's packet filter in memory, behind the commands that the agent runs. */
export interface FakeIptables {
  readonly run: RunCommand;
  /** The rules of a chain, of `iptables-nft` unless told otherwise, as `-A …` lines; to be read and changed by tests. */
  chain(table: string, chain: string, command?: string): string[];
  /** Lines that `<command>-save` prints besides the rules, such as the kubelet's chains. */
  readonly extraLines: Map<string, string[]>;
  /** What every command that begins with a text shall answer instead. */
  readonly answers: Map<string, CommandOutcome>;
  /** Every command line that was run. */
  readonly commands: string[];
}

const SAID_NOTHING = { kind: 'exited', exitCode: 0, stdout: '', stderr: '', truncated: false } as const;

export const LOCKED: CommandOutcome = {
  ...SAID_NOTHING,
  exitCode: 4,
  stderr: 'Another app is currently holding the xtables lock. Stopped waiting after 5s.\n',
};

export function createFakeIptables(): FakeIptables {
  const chains = new Map<string, string[]>();
  const extraLines = new Map<string, string[]>();
  const answers = new Map<string, CommandOutcome>();
  const commands: string[] = [];
  const chain = (table: string, name: string, command = 'iptables-nft'): string[] => {
    const key = `${command} ${table} ${name}`;
    const rules = chains.get(key) ?? [];
    chains.set(key, rules);
    return rules;
  };

  const answer = (command: string, args: readonly string[], input: string): CommandOutcome => {
    const line = [command, ...args].join(' ');
    commands.push(line);
    for (const [start, outcome] of answers) if (line.startsWith(start)) return outcome;
    if (line === 'iptables -V') return { ...SAID_NOTHING, stdout: 'iptables v1.8.9 (nf_tables)\n' };
    if (command === 'conntrack') return SAID_NOTHING;
    if (command.endsWith('-save')) return { ...SAID_NOTHING, stdout: save(command.replace(/-save$/, '')) };
    if (command.endsWith('-restore')) return restore(command.replace(/-restore$/, ''), input.split('\n'));
    const table = args[args.indexOf('-t') + 1] ?? '';
    const name = args[args.indexOf('-S') + 1] ?? '';
    return { ...SAID_NOTHING, stdout: [`-P ${name} ACCEPT`, ...chain(table, name, command), ''].join('\n') };
  };

  const save = (command: string): string => {
    const rules = [...chains].filter(([key]) => key.startsWith(`${command} `)).flatMap(([, lines]) => lines);
    return [...(extraLines.get(command) ?? []), ...rules, ''].join('\n');
  };

  const restore = (command: string, lines: readonly string[]): CommandOutcome => {
    const table = lines[0]?.slice(1) ?? '';
    const changed = new Map<string, string[]>();
    for (const line of lines.slice(1, lines.indexOf('COMMIT'))) {
      const [, action, name = '', rest = ''] = /^-([DI]) (\S+) (.*)$/.exec(line) ?? [];
      const rules = changed.get(name) ?? [...chain(table, name, command)];
      changed.set(name, rules);
      const index = action === 'D' ? rules.indexOf(`-A ${name} ${rest}`) : Number(rest.split(' ')[0]) - 1;
      if (index < 0) return { ...SAID_NOTHING, exitCode: 1, stderr: `iptables-restore: line failed: ${line}\n` };
      if (action === 'D') rules.splice(index, 1);
      else rules.splice(index, 0, `-A ${name} ${rest.slice(rest.indexOf(' ') + 1)}`);
    }
    for (const [name, rules] of changed) chain(table, name, command).splice(0, Number.POSITIVE_INFINITY, ...rules);
    return SAID_NOTHING;
  };

  const run: RunCommand = (command, args, { signal, input = '' }) =>
    Promise.resolve(signal.aborted ? { kind: 'aborted' } : answer(command, args, input));
  return { run, chain, extraLines, answers, commands };
}
