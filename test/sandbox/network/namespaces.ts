import { existsSync, readdirSync } from 'node:fs';

import { type CommandOutcome, runCommand, runCommandSync } from './commands.ts';

/** A network namespace by name, and the words that go before a command to run it inside. */
export interface NetworkNamespace {
  readonly namespace: string;
  readonly exec: readonly string[];
}

export function networkNamespace(namespace: string): NetworkNamespace {
  return { namespace, exec: ['ip', 'netns', 'exec', namespace] };
}

/** Runs `ip` commands inside a namespace, one per line, in one process. Throws with what `ip` said. */
export async function configure(namespace: string, lines: readonly string[]): Promise<void> {
  demand(await runCommand(['ip', '-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`));
}

/** Creates a namespace whose loopback is up. */
export async function addNamespace(name: string): Promise<void> {
  demand(await runCommand(['ip', 'netns', 'add', name]));
  await configure(name, ['link set lo up']);
}

/** Sets kernel parameters, given as paths under /proc/sys, inside a namespace. */
export async function setParameters(namespace: string, parameters: Readonly<Record<string, string>>): Promise<void> {
  const script = Object.entries(parameters).map(([path, value]) => `echo ${value} > /proc/sys/${path}`);
  demand(await runCommand([...networkNamespace(namespace).exec, 'sh', '-ec', script.join('\n')]));
}

/**
 * Ends what still runs in a namespace, as a kubelet does with a pod, and removes it. A namespace that is gone is fine:
 * removing twice, or after a sweep, changes nothing.
 */
export async function removeNamespace(name: string): Promise<void> {
  const inside = await runCommand(['ip', 'netns', 'pids', name]);
  const pids = processIds(inside);
  if (pids.length > 0) await runCommand(['kill', '-9', ...pids]);
  await runCommand(['ip', 'netns', 'del', name]);
}

/** {@link removeNamespace} for an exit handler, where nothing asynchronous runs any more. */
export function removeNamespaceSync(name: string): void {
  const pids = processIds(runCommandSync(['ip', 'netns', 'pids', name]));
  if (pids.length > 0) runCommandSync(['kill', '-9', ...pids]);
  runCommandSync(['ip', 'netns', 'del', name]);
}

/**
 * Removes the namespaces of runs whose process is gone: one killed with SIGKILL leaves them behind. Returns their names.
 * Names have the form `<prefix>-<pid>-…`; the interfaces inside, and their peers outside, go with them.
 */
export async function sweepLeftovers(prefix = 'kiam'): Promise<readonly string[]> {
  const listed = await runCommand(['ip', 'netns', 'list']);
  if (!listed.ok) return [];
  const names = listed.output.split('\n').map((line) => line.split(' ')[0] ?? '');
  const left = names.filter((name) => isLeftover(name, prefix));
  for (const name of left) await removeNamespace(name);
  return left;
}

/** Removes every namespace of one process, also of a network that was still being built. For an exit handler. */
export function removeNamespacesOfSync(pid: number, prefix = 'kiam'): void {
  const names = existsSync(NAMESPACES) ? readdirSync(NAMESPACES, { encoding: 'utf8' }) : [];
  for (const name of names) {
    if (name.startsWith(`${prefix}-${pid}-`)) removeNamespaceSync(name);
  }
}

/** Where iproute2 keeps the namespaces that it has named: ip-netns(8). */
const NAMESPACES = '/run/netns';

function isLeftover(name: string, prefix: string): boolean {
  if (!name.startsWith(`${prefix}-`)) return false;
  const pid = /^(\d+)-/.exec(name.slice(prefix.length + 1))?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

function processIds(outcome: CommandOutcome): string[] {
  return outcome.ok ? outcome.output.split('\n').filter((line) => /^\d+$/.test(line)) : [];
}

function demand(outcome: CommandOutcome): void {
  if (!outcome.ok) throw new Error(outcome.reason);
}
