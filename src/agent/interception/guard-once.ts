import { type Clock, sleep } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import { findBackend } from './backend.ts';
import type { RunCommand } from './command.ts';
import { forgetConnections } from './connections.ts';
import type { HostInterface } from './host-interface.ts';
import { RuleKeeper } from './rule-keeper.ts';
import { openTables } from './tables.ts';
import { type Family, desiredBackstop, desiredGuard } from './desired-rules.ts';

export interface GuardOnceOptions {
  /** Which forwarded packets are rejected. */
  readonly guardInterface: HostInterface;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly run: RunCommand;
  readonly signal: AbortSignal;
  /** How long to try, for instance while another program holds the lock. Default 30 s. */
  readonly limitMs?: number;
  /** How long each command may wait for the xtables lock. Default 5 s. */
  readonly lockWaitSeconds?: number;
}

export type GuardOutcome =
  | { readonly ok: true; readonly families: readonly Family[] }
  | { readonly ok: false; readonly reason: string };

/**
 * Installs the guard, for `kiam agent --guard-only`: pods that start before the agent then reach nothing. The guard
 * for IPv4 decides; the one for IPv6 is installed where ip6tables works, and the backstop where the kernel has its table. Never
 * rejects.
 */
export async function applyGuardOnce(options: GuardOnceOptions): Promise<GuardOutcome> {
  const { clock, signal, limitMs = 30_000 } = options;
  const endMs = clock.monotonic() + limitMs;
  const keepers = [desiredGuard, desiredBackstop].flatMap((rulesOf) =>
    (['ipv4', 'ipv6'] as const).map((family) => {
      const desired = rulesOf({ family, hostInterface: options.guardInterface });
      return new RuleKeeper({ clock, logger: options.logger, metrics: NO_METRICS, desired, signal });
    }),
  );
  // A clock's timers keep no process alive, and between two attempts nothing else would.
  const hold = setInterval(() => {}, limitMs);
  try {
    for (;;) {
      const reason = await attempt(keepers, options);
      if (reason === undefined) {
        const present = keepers.filter(
          ({ desired, state }) => desired.name === 'guard' && state.presence === 'present',
        );
        return { ok: true, families: present.map((keeper) => keeper.desired.family) };
      }
      if (signal.aborted || clock.monotonic() >= endMs) return { ok: false, reason };
      await sleep(clock, 1000, signal);
    }
  } finally {
    clearInterval(hold);
  }
}

/** One attempt; returns why the guard for IPv4 is not in place, or nothing. */
async function attempt(keepers: readonly RuleKeeper[], options: GuardOnceOptions): Promise<string | undefined> {
  const found = await findBackend(options);
  if (!found.ok) return found.reason;
  let reason: string | undefined;
  for (const keeper of keepers) {
    const { name, family } = keeper.desired;
    const changed = await keeper.check(openTables({ ...options, backend: found.backend, family }));
    if (changed !== 'none') await forgetConnections('direct', { ...options, family });
    if (name === 'guard' && family === 'ipv4' && keeper.state.presence !== 'present') reason = keeper.state.reason;
  }
  return reason;
}

const NO_METRICS = { restored: () => {}, failed: () => {}, present: () => {} } as const;
