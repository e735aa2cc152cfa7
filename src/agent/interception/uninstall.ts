import { isIPv6 } from 'node:net';

import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { Backend } from './backend.ts';
import { explainOutcome, type RunCommand } from './command.ts';
import { ANY_INTERFACE } from './host-interface.ts';
import type { Rule } from './rules.ts';
import { openTables } from './tables.ts';
import { type Family, isRedirectTo, desiredBackstop, desiredGuard, type DesiredRules } from './desired-rules.ts';

export interface UninstallOptions {
  /** The node's addresses and the port that our redirect has as its destination: another program's redirect stays. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** That of container credentials. */
  readonly containerPort: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly run: RunCommand;
  readonly signal: AbortSignal;
  /** How long to try, for instance while another program holds the lock. Default 30 s. */
  readonly limitMs?: number;
  /** How long each command may wait for the xtables lock. Default 5 s. */
  readonly lockWaitSeconds?: number;
}

export type UninstallOutcome =
  | { readonly ok: true; readonly removed: number }
  | { readonly ok: false; readonly reason: string };

/**
 * Takes redirect, guard and backstop away, for `kiam agent --uninstall`: of whatever interface, in both families and both
 * backends, since a node may have changed its backend. Pods then reach the role of the node. An agent that runs would put
 * them back. Never rejects.
 */
export async function uninstall(options: UninstallOptions): Promise<UninstallOutcome> {
  const { clock, signal, limitMs = 30_000 } = options;
  const endMs = clock.monotonic() + limitMs;
  let removed = 0;
  // A clock's timers keep no process alive, and between two attempts nothing else would.
  const hold = setInterval(() => {}, limitMs);
  try {
    for (;;) {
      const outcome = await attempt(options);
      removed += outcome.removed;
      if (outcome.reason === undefined) return { ok: true, removed };
      if (signal.aborted || clock.monotonic() >= endMs) return { ok: false, reason: outcome.reason };
      await sleep(clock, 1000, signal);
    }
  } finally {
    clearInterval(hold);
  }
}

interface Attempt {
  readonly removed: number;
  /** What could not be removed, and why. */
  readonly reason: string | undefined;
}

async function attempt(options: UninstallOptions): Promise<Attempt> {
  const backends = await installedBackends(options);
  if (backends.length === 0) return { removed: 0, reason: 'iptables is not installed' };
  let removed = 0;
  let reason: string | undefined;
  for (const backend of backends) {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const outcome = await removeFrom(backend, family, options);
      removed += outcome.removed;
      reason ??= outcome.reason;
    }
  }
  return { removed, reason };
}

/** Plain `iptables` only where neither backend is there by its own name. */
async function installedBackends({ run, signal }: UninstallOptions): Promise<Backend[]> {
  const found: Backend[] = [];
  for (const kind of ['nft', 'legacy'] as const) {
    const command = `iptables-${kind}`;
    const outcome = await run(command, ['-V'], { timeoutMs: TIMEOUT_MS, signal });
    if (outcome.kind !== 'not found') found.push({ kind, command });
  }
  if (found.length > 0) return found;
  const plain = await run('iptables', ['-V'], { timeoutMs: TIMEOUT_MS, signal });
  return plain.kind === 'not found' ? [] : [{ kind: 'nft', command: 'iptables' }];
}

const TIMEOUT_MS = 8000;

/** One chain in which rules of ours may stand. */
interface Place extends Pick<DesiredRules, 'name' | 'table' | 'chain'> {
  readonly isOurs: (rule: Rule) => boolean;
}

async function removeFrom(backend: Backend, family: Family, options: UninstallOptions): Promise<Attempt> {
  const { run, signal, logger } = options;
  const save = `${family === 'ipv6' ? backend.command.replace(/^ip/, 'ip6') : backend.command}-save`;
  // Asking for a table by name would load its module: only those in use are asked for.
  const saved = await run(save, [], { timeoutMs: TIMEOUT_MS, signal });
  // A kernel without IPv6, or without one backend, holds no rules there.
  if (saved.kind === 'not found' || (saved.kind === 'exited' && saved.exitCode !== 0))
    return { removed: 0, reason: undefined };
  if (saved.kind !== 'exited') return { removed: 0, reason: explainOutcome(save, saved) };
  const tables = openTables({ ...options, backend, family });
  let removed = 0;
  for (const place of placesOf(family, options)) {
    if (!saved.truncated && !saved.stdout.includes(`*${place.table}\n`)) continue;
    const read = await tables.readChain(place);
    if (!read.ok) return { removed, reason: `${place.name} (${family}): ${read.reason}` };
    const lines = read.rules
      .filter((rule) => rule.chain === place.chain && place.isOurs(rule))
      .map((rule) => `-D ${rule.chain} ${rule.specification}`);
    if (lines.length === 0) continue;
    const changed = await tables.change(place, lines);
    if (!changed.ok) return { removed, reason: `${place.name} (${family}): ${changed.reason}` };
    logger.info('an iptables rule was removed', { rule: place.name, family, backend: backend.kind });
    removed += lines.length;
  }
  return { removed, reason: undefined };
}

function placesOf(family: Family, { addresses, port, containerPort }: UninstallOptions): Place[] {
  const own = addresses.filter((address) => isIPv6(address) === (family === 'ipv6'));
  const guards = [
    desiredGuard({ family, hostInterface: ANY_INTERFACE }),
    desiredBackstop({ family, hostInterface: ANY_INTERFACE }),
    desiredGuard({ family, hostInterface: ANY_INTERFACE, service: 'container' }),
  ].map((guard) => ({ ...guard, isOurs: (rule: Rule) => guard.isRecognised(rule) }));
  const isOurs = (rule: Rule): boolean => own.some((address) => isRedirectTo(rule, { family, address, port }));
  const container = { family, port: containerPort, service: 'container' } as const;
  const isOfContainer = (rule: Rule): boolean => own.some((address) => isRedirectTo(rule, { ...container, address }));
  // The redirects first: while the guard is in place, nothing is open.
  return [
    { name: 'redirect', table: 'nat', chain: 'PREROUTING', isOurs },
    { name: 'container-redirect', table: 'nat', chain: 'PREROUTING', isOurs: isOfContainer },
    { name: 'container-output', table: 'nat', chain: 'OUTPUT', isOurs: isOfContainer },
    ...guards,
  ];
}
