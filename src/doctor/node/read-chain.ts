import type { KernelFiles } from '#agent/evidence/kernel-files.ts';
import type { Backend } from '#agent/interception/backend.ts';
import type { RunCommand } from '#agent/interception/command.ts';
import { openTables, type ReadResult } from '#agent/interception/tables.ts';
import type { DesiredRules } from '#agent/interception/desired-rules.ts';

export interface ReadChainOptions {
  readonly run: RunCommand;
  readonly files: KernelFiles;
  readonly signal: AbortSignal;
}

/**
 * Reads the chain that desired rules are for, and nothing else happens: asking for a table of iptables-legacy would load its
 * module.
 */
export function readChain(desired: DesiredRules, backend: Backend, options: ReadChainOptions): Promise<ReadResult> {
  const { run, files, signal } = options;
  const listed = desired.family === 'ipv6' ? '/proc/net/ip6_tables_names' : '/proc/net/ip_tables_names';
  const loaded = (files.read(listed)?.toString('latin1') ?? '').split('\n');
  if (backend.kind === 'legacy' && !loaded.includes(desired.table)) return Promise.resolve({ ok: true, rules: [] });
  return openTables({ run, backend, family: desired.family, signal }).readChain(desired);
}
