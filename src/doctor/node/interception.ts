import { type Backend, findBackend } from '#agent/interception/backend.ts';
import type { HostAddresses } from '#agent/interception/host-addresses.ts';
import type { HostInterface } from '#agent/interception/host-interface.ts';
import { plan } from '#agent/interception/plan.ts';
import { desiredRules, type DesiredRules, EKS_INTERFACE, isContainerRule } from '#agent/interception/desired-rules.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { readChain, type ReadChainOptions } from './read-chain.ts';

export interface InterceptionCheckOptions extends ReadChainOptions {
  /** Where the redirect should lead; undefined where `--host` does not say it: only the guard can then be told. */
  readonly hostAddresses: HostAddresses | undefined;
  readonly port: number;
  /** The port of container credentials; undefined where they are not served. */
  readonly containerPort?: number | undefined;
  /** Whether the agent of EKS has the address of container credentials. */
  readonly isEksThere?: boolean;
  readonly hostInterface: HostInterface;
  readonly guardInterface: HostInterface;
  /** The agent is about to start, so rules that it will put in place itself are not reported as missing. */
  readonly beforeStart: boolean;
}

/** Reads the rules as the agent's interception does, through the backend that the node uses, and changes none. Never rejects. */
export async function checkInterception(options: InterceptionCheckOptions): Promise<Observation[]> {
  const found = await findBackend(options);
  if (!found.ok) return [cannotTell(found.reason, 'run this as root with NET_ADMIN, in the agent’s own container')];
  const { hostAddresses = { ipv4: undefined, ipv6: undefined }, isEksThere = false } = options;
  const containerPort = isEksThere ? undefined : options.containerPort;
  const observations: Observation[] = [ok(`the node’s rules are those of ${found.backend.command}`)];
  for (const desired of desiredRules({ ...options, hostAddresses, containerPort })) {
    // IPv6 is expected where --host says so; the guard for it is put in wherever ip6tables works.
    if (desired.family === 'ipv6' && hostAddresses.ipv6 === undefined) continue;
    observations.push(await checkRules(desired, found.backend, options));
  }
  if (isEksThere && options.containerPort !== undefined) {
    observations.push(
      wrong(
        `EKS Pod Identity has the address of container credentials (${EKS_INTERFACE}): it answers there, and this agent does not`,
        'start the agent without --container-credentials, or remove the add-on eks-pod-identity-agent',
      ),
    );
  }
  if (options.hostAddresses === undefined) {
    observations.push(
      cannotTell('the expected redirect is not known without a --host that it can lead to', 'give --host'),
    );
  }
  return observations;
}

async function checkRules(
  desired: DesiredRules,
  backend: Backend,
  options: InterceptionCheckOptions,
): Promise<Observation> {
  const what = `the ${desired.name} (${desired.family}, ${desired.table} ${desired.chain})`;
  const read = await readChain(desired, backend, options);
  if (!read.ok) {
    const isUnneeded = desired.name === 'backstop';
    const fix = isUnneeded
      ? 'a kernel without the table `security` does without it'
      : 'run this as root with NET_ADMIN, in the agent’s own container';
    return cannotTell(`${what} cannot be read: ${read.reason}`, fix);
  }
  const { inForce, findings, culprit } = plan(read.rules, desired);
  if (inForce) return ok(`${what} is in place and comes first`);
  if (options.beforeStart && findings.includes('missing')) {
    return cannotTell(`${what} is not there yet`, 'the agent installs it when it starts');
  }
  if (findings.includes('missing')) return missing(what, desired, backend, options);
  const says = findings.includes('disordered') ? 'its rules are in the wrong order' : 'another rule comes before it';
  const fix =
    'the agent puts its rules first every few seconds: does it run with --iptables? what else writes rules here?';
  return wrong(`${what} is not in force: ${says}${culprit === undefined ? '' : `: ${culprit}`}`, fix);
}

/** Absent, or written by a tool of the other kind. */
async function missing(
  what: string,
  desired: DesiredRules,
  backend: Backend,
  options: InterceptionCheckOptions,
): Promise<Observation> {
  const kind = backend.kind === 'nft' ? 'legacy' : 'nft';
  const other = { kind, command: `iptables-${kind}` } as const;
  const read = await readChain(desired, other, options);
  if (read.ok && plan(read.rules, desired).inForce) {
    const fix = `restart the agent, so that it finds the node’s backend again, and flush what stands in ${other.command}`;
    return wrong(`${what} is in ${other.command}, while this node uses ${backend.command}`, fix);
  }
  if (isContainerRule(desired)) {
    const fix = 'does the agent run with --iptables, and with this --host, --container-credentials and its port?';
    return wrong(`${what} is missing: requests for container credentials do not reach the agent`, fix);
  }
  const danger =
    desired.name === 'redirect' ? 'pods are not redirected to the agent' : 'pods may reach the node’s role';
  const fix =
    desired.name === 'redirect'
      ? 'does the agent run with --iptables, and with this --host, --port and --host-interface?'
      : '`kiam agent --guard-only` puts it in; run it as an init container';
  return wrong(`${what} is missing: ${danger}`, fix);
}
