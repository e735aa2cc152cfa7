import type { HostAddresses } from '#agent/interception/host-addresses.ts';
import type { HostInterface } from '#agent/interception/host-interface.ts';
import type { Rule } from '#agent/interception/rules.ts';
import { desiredRedirect, type DesiredRules } from '#agent/interception/desired-rules.ts';
import type { Clock } from '#runtime/clock.ts';

import { type Observation, ok, wrong } from '../finding.ts';
import { LISTENERS, whoListens } from '../who-listens.ts';
import { readChain, type ReadChainOptions } from './read-chain.ts';

export interface InterceptorsCheckOptions extends ReadChainOptions {
  readonly hostAddresses: HostAddresses | undefined;
  readonly port: number;
  readonly hostInterface: HostInterface;
  readonly clock: Clock;
}

/** The ports that kube2iam, uswitch/kiam's manifests and its default use. */
const KNOWN_PORTS = [8181, 3100];

const FIX = 'only one of them may run on a node: delete the other’s DaemonSet, then its rule in nat PREROUTING';

/**
 * Other programs on the node that answer in the metadata service's place: their rules in either backend, and their ports. Never
 * rejects.
 */
export async function checkOtherInterceptors(options: InterceptorsCheckOptions): Promise<Observation[]> {
  const { hostAddresses, port, hostInterface, clock, signal } = options;
  const address = hostAddresses?.ipv4 ?? '';
  const ours = desiredRedirect({ family: 'ipv4', hostInterface, address, port });
  const found: Observation[] = [];
  const seen = new Set<string>([`${address}:${port}`]);
  for (const kind of ['nft', 'legacy'] as const) {
    for (const rule of await foreignRules(kind, ours, options)) {
      const target = rule.targetOptions.at(-1) ?? '';
      const [host = '', targetPort = ''] = target.split(':');
      const who = await whoListens({ host, port: Number(targetPort) || 80, clock, signal });
      const what = who === 'unknown' ? 'an unknown program' : LISTENERS[who];
      const says = `another rule of iptables-${kind} redirects pods to ${target}, where ${what} answers: ${rule.specification}`;
      found.push(wrong(says, FIX));
      seen.add(target);
    }
  }
  for (const known of KNOWN_PORTS.filter((candidate) => candidate !== port)) {
    const who = await whoListens({ host: '127.0.0.1', port: known, clock, signal });
    if (who === 'unknown' || [...seen].some((target) => target.endsWith(`:${known}`))) continue;
    found.push(wrong(`${LISTENERS[who]} listens on port ${known} of this node`, FIX));
  }
  return found.length > 0 ? found : [ok('no other program on this node takes pods’ requests for metadata')];
}

/**
 * Redirects of the metadata service that are not ours; none where they cannot be read, which the check of our own rules
 * reports.
 */
async function foreignRules(
  kind: 'nft' | 'legacy',
  ours: DesiredRules,
  options: InterceptorsCheckOptions,
): Promise<readonly Rule[]> {
  const backend = { kind, command: `iptables-${kind}` };
  const read = await readChain(ours, backend, options);
  if (!read.ok) return [];
  const [desired = ''] = ours.specifications;
  return read.rules.filter((rule) => ours.isRecognised(rule) && !ours.isSame(rule, desired));
}
