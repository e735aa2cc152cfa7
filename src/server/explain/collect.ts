import type { SessionRules } from '#domain/attribution.ts';
import { type Identity, identityOf } from '#domain/identity.ts';
import type { NodeId } from '#domain/node.ts';
import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';
import type { Decision } from '#domain/policy.ts';
import type { RoleResolution } from '#domain/role.ts';

import type { NamespaceView, PodView } from '../ports.ts';
import type { AddressFacts, ExplainFacts, RunningFacts } from './facts.ts';

export interface CollectOptions {
  /** Who says so, for people. */
  readonly source: string;
  readonly pods: Pick<PodView, 'find'> & { byName(namespace: string, name: string): PodRecord | undefined };
  /** Whether all pods that claim an address are among those. */
  readonly knowsAddress: (address: string) => boolean;
  /**
   * How the agent of a pod's node is told from others: of the pods with one address its own is found. Undefined for not at all.
   */
  readonly nodeOf: (pod: PodRecord) => NodeId | undefined;
  readonly namespaces: Pick<NamespaceView, 'get'>;
  /** See {@link ExplainFacts}. */
  readonly servesTokens: boolean | undefined;
  /** Of a role that is not empty; undefined where that cannot be told. */
  readonly resolve: (role: string) => RoleResolution | undefined;
  /** Of a pod with a role, and that role; undefined where that cannot be told. */
  readonly decide: (pod: PodRecord) => Decision | undefined;
  readonly sessions: SessionRules;
  /** Undefined without a running server. */
  readonly running: ((pod: PodRecord | undefined, identity: Identity | undefined) => RunningFacts) | undefined;
}

/** Puts together what is known of a pod. Asks nobody and changes nothing. */
export function collectFacts(options: CollectOptions, namespace: string, name: string): ExplainFacts {
  const { source, pods, namespaces, resolve, decide, sessions, running } = options;
  const pod = pods.byName(namespace, name);
  const withRole = pod === undefined || pod.role === '' ? undefined : pod;
  const decision = withRole && decide(withRole);
  const identity =
    withRole !== undefined && decision?.allowed === true ? identityOf(withRole, decision.roleArn, sessions) : undefined;
  return {
    namespace,
    name,
    source,
    pod,
    addresses: pod === undefined ? [] : addressFacts(options, pod),
    servesTokens: options.servesTokens,
    resolution: withRole && resolve(withRole.role),
    decision,
    permitted: namespaces.get(namespace)?.permitted,
    isList: namespaces.get(namespace)?.isList,
    identity,
    running: running?.(pod, identity),
  };
}

function addressFacts({ pods, knowsAddress, nodeOf }: CollectOptions, pod: PodRecord): readonly AddressFacts[] {
  if (!ownsItsAddress(pod)) return [];
  return pod.addresses.map((address) => {
    const found = pods.find(address, { node: nodeOf(pod) });
    const claimants = pods.find(address);
    const others = claimants.kind === 'ambiguous' ? claimants.pods.filter(({ uid }) => uid !== pod.uid) : [];
    return {
      address,
      isOwn: knowsAddress(address) ? found.kind === 'found' && found.pod.uid === pod.uid : undefined,
      others: others.map((other) => `${other.namespace}/${other.name}`),
    };
  });
}
