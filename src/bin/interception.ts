import { createCommandFollower, createCommandRunner } from '#agent/interception/command.ts';
import { applyGuardOnce } from '#agent/interception/guard-once.ts';
import type { HostAddresses } from '#agent/interception/host-addresses.ts';
import { Interception } from '#agent/interception/interception.ts';
import { createInterceptionMetrics } from '#agent/interception/metrics.ts';
import { uninstall } from '#agent/interception/uninstall.ts';
import type { NodeDetails } from '#domain/node-details.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#telemetry/logger.ts';
import type { Registry } from 'prom-client';

import { ownAddresses } from './container-credentials.ts';
import type { Daemon } from './daemon.ts';
import { type AgentFlags, redirectTargets } from './flags/agent.ts';

/** At exit, removing rules may wait this long for a lock that another program holds. */
const CLOSE_LIMIT_MS = 5000;

type InterceptionFlags = Pick<
  AgentFlags,
  'iptables' | 'host' | 'port' | 'hostInterface' | 'guardInterface' | 'iptablesRemove' | 'iptablesRemoveGuard'
> &
  Partial<Pick<AgentFlags, 'containerCredentials' | 'containerCredentialsPort'>>;

export interface RulesKept {
  /** Why they are not in place, for the readiness report. */
  readonly problem: () => string | undefined;
  readonly states: () => Pick<NodeDetails, 'redirect' | 'guard'>;
}

/** Puts redirect and guard in place and keeps them there. */
export function startInterception(
  flags: InterceptionFlags,
  { clock, logger, shutdown }: Daemon,
  registry: Registry,
): RulesKept {
  const hostAddresses = redirectTargetsOf(flags);
  if (hostAddresses === undefined) {
    return { problem: () => undefined, states: () => ({ redirect: 'off', guard: 'off' }) };
  }
  const interception = new Interception({
    hostAddresses,
    port: flags.port,
    containerPort: flags.containerCredentials === true ? flags.containerCredentialsPort : undefined,
    hostInterface: flags.hostInterface,
    guardInterface: flags.guardInterface,
    clock,
    logger,
    metrics: createInterceptionMetrics(registry),
    run: createCommandRunner({ clock }),
    follow: createCommandFollower({}),
    signal: shutdown.signal,
  });
  interception.start();
  shutdown.add({
    name: 'interception',
    limitMs: CLOSE_LIMIT_MS,
    close: () => interception.close({ removeRedirect: flags.iptablesRemove, removeGuard: flags.iptablesRemoveGuard }),
  });
  return {
    problem: () => {
      const { reason } = interception.status();
      return reason === '' ? undefined : `interception: ${reason}`;
    },
    states: () => {
      const { redirect, guard } = interception.status();
      return { redirect, guard };
    },
  };
}

/** The target of the redirect; undefined without `--iptables`. */
export function redirectTargetsOf(flags: Pick<AgentFlags, 'iptables' | 'host'>): HostAddresses | undefined {
  const targets = flags.iptables ? redirectTargets(flags) : undefined;
  return targets?.ok === true ? targets.addresses : undefined;
}

/** `--guard-only`: puts the guard in place and exits 0, or 1 with the reason. */
export async function runGuardOnly(flags: AgentFlags): Promise<void> {
  const logger = createLogger({ json: flags.jsonLog, level: flags.level });
  const outcome = await applyGuardOnce({
    guardInterface: flags.guardInterface,
    clock: systemClock,
    logger,
    run: createCommandRunner({ clock: systemClock }),
    signal: new AbortController().signal,
  });
  if (outcome.ok) logger.info('the guard is in place', { families: outcome.families.join(' ') });
  else logger.error('the guard could not be put in place', { error: outcome.reason });
  process.exit(outcome.ok ? 0 : 1);
}

/** `--uninstall`: removes redirect, guard and backstop and exits 0, or 1 with the reason. */
export async function runUninstall(flags: AgentFlags): Promise<void> {
  const logger = createLogger({ json: flags.jsonLog, level: flags.level });
  const outcome = await uninstall({
    addresses: flags.host.length > 0 ? flags.host : ownAddresses(),
    port: flags.port,
    containerPort: flags.containerCredentialsPort,
    clock: systemClock,
    logger,
    run: createCommandRunner({ clock: systemClock }),
    signal: new AbortController().signal,
  });
  if (outcome.ok) {
    logger.info('redirect, guard and backstop are gone: pods reach the role of this node', { rules: outcome.removed });
  } else {
    logger.error('redirect, guard and backstop could not be taken away', { error: outcome.reason });
  }
  process.exit(outcome.ok ? 0 : 1);
}
