import { type HostAddressesResult, parseHostAddresses } from '#agent/interception/host-addresses.ts';
import { canonicalAddress, isLoopback } from '#domain/address.ts';
import { monitoringWarnings } from './monitoring.ts';
import type { FlagsOf } from './option.ts';
import { show } from './read-flags.ts';
import type { AGENT_OPTIONS } from './table.ts';

export type AgentFlags = FlagsOf<typeof AGENT_OPTIONS>;

/** The addresses that requests are redirected to, or why that cannot be done. Undefined without `--host`. */
export function redirectTargets({ host }: Pick<AgentFlags, 'host'>): HostAddressesResult | undefined {
  return host.length === 0 ? undefined : parseHostAddresses(host.join(','));
}

/** Problems of flags that do not go together, one line each. */
export function agentProblems(flags: AgentFlags): string[] {
  const problems: string[] = [];
  const { listenAddress, iptables, iptablesRemove } = flags;
  if (flags.allowIpQuery && (listenAddress === '' || !isLoopback(listenAddress))) {
    problems.push(
      '--allow-ip-query lets any client be any pod: it needs a loopback --listen-address such as 127.0.0.1',
    );
  }
  if (flags.containerCredentials && !flags.nodeStore) {
    problems.push('--container-credentials needs the node store: only that says which pods are on this node');
  }
  if (flags.containerCredentials && flags.containerCredentialsPort === flags.port && flags.port !== 0) {
    problems.push('--container-credentials-port must be another than --port');
  }
  if (iptables && flags.port === 0) problems.push('--iptables needs a --port to redirect to, not 0');
  if (iptables && flags.containerCredentials && flags.containerCredentialsPort === 0) {
    problems.push('--iptables needs a --container-credentials-port to redirect to, not 0');
  }
  const targets = iptables ? redirectTargets(flags) : undefined;
  if (targets?.ok === false) problems.push(`--iptables cannot redirect to this --host: ${targets.reason}`);
  if (flags.uninstall && !isHostAnAddress(flags))
    problems.push('--uninstall needs IP addresses in --host, or no --host');
  if (flags.iptablesRemoveGuard && !iptablesRemove) {
    problems.push('--iptables-remove-guard needs --iptables-remove: without the guard the redirect protects nothing');
  }
  if (flags.uninstall && (flags.guardOnly || iptables)) {
    problems.push('--uninstall removes the rules and exits: not together with --iptables or --guard-only');
  }
  if (flags.guardOnly && iptablesRemove) problems.push('--guard-only and --iptables-remove contradict each other');
  return problems;
}

export function agentWarnings(flags: AgentFlags): string[] {
  const warnings = monitoringWarnings(flags);
  // Quotation marks from a manifest become part of the expression, which then matches no path.
  const { allowRouteRegexp: expression } = flags;
  if (/["'`]/.test(expression)) {
    warnings.push(
      `--allow-route-regexp=${expression} has quotation marks in it, and so lets no path through: remove them`,
    );
  }
  if (!flags.iptables && !isHostAnAddress(flags)) {
    const { host } = flags;
    warnings.push(`--host=${show(host.join(','))} is not a list of IP addresses: it has no effect without --iptables`);
  }
  return warnings;
}

/** Also true when there is no `--host`. */
function isHostAnAddress({ host }: Pick<AgentFlags, 'host'>): boolean {
  return host.every((text) => canonicalAddress(text) !== undefined);
}
