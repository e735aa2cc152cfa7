import type { Backend } from './backend.ts';
import { type CommandOutcome, explainOutcome, type RunCommand } from './command.ts';
import { parseRules, type Rule } from './rules.ts';
import type { Family, DesiredRules } from './desired-rules.ts';

export type ReadResult =
  | { readonly ok: true; readonly rules: readonly Rule[] }
  | { readonly ok: false; readonly reason: string };
export type ChangeResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The chains of one family, through one backend. */
export interface Tables {
  readChain(desired: Pick<DesiredRules, 'table' | 'chain'>): Promise<ReadResult>;
  /** Carries out all of the lines or, when one cannot be, none. */
  change(desired: Pick<DesiredRules, 'table'>, lines: readonly string[]): Promise<ChangeResult>;
}

export interface TablesOptions {
  readonly run: RunCommand;
  readonly backend: Backend;
  readonly family: Family;
  readonly signal: AbortSignal;
  /** How long a command may wait for the lock that all users of iptables-legacy share (/run/xtables.lock). Default 5 s. */
  readonly lockWaitSeconds?: number;
}

/** What a command may take beyond its wait for the lock. */
const WORK_MS = 5000;

export function openTables({ run, backend, family, signal, lockWaitSeconds = 5 }: TablesOptions): Tables {
  const command = family === 'ipv6' ? backend.command.replace(/^ip/, 'ip6') : backend.command;
  const wait = ['-w', String(lockWaitSeconds)];
  const timeoutMs = lockWaitSeconds * 1000 + WORK_MS;
  return {
    readChain: async ({ table, chain }) => {
      const outcome = await run(command, [...wait, '-t', table, '-S', chain], { timeoutMs, signal });
      if (!succeeded(outcome)) return { ok: false, reason: explainOutcome(command, outcome) };
      if (outcome.truncated) return { ok: false, reason: `${command} prints more than can be read` };
      return { ok: true, rules: parseRules(outcome.stdout) };
    },
    change: async ({ table }, lines) => {
      const restore = `${command}-restore`;
      const input = [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
      const outcome = await run(restore, [...wait, '--noflush'], { timeoutMs, signal, input });
      return succeeded(outcome) ? { ok: true } : { ok: false, reason: explainOutcome(restore, outcome) };
    },
  };
}

function succeeded(outcome: CommandOutcome): outcome is Extract<CommandOutcome, { kind: 'exited' }> {
  return outcome.kind === 'exited' && outcome.exitCode === 0;
}
