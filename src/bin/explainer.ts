import { hostname } from 'node:os';

import type { StsCredentialCache } from '#aws/credential-cache.ts';
import type { NodeId } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import { resolveRole } from '#domain/role.ts';
import type { Kubernetes } from '#kubernetes/kubernetes.ts';
import type { Confirmation } from '#server/confirmation.ts';
import type { AgentIdentityMode } from '#server/agent-scope.ts';
import { collectFacts, type CollectOptions } from '#server/explain/collect.ts';
import { explain } from '#server/explain/explain.ts';
import type { ExplainRouteOptions } from '#server/explain/route.ts';
import { runningFacts } from '#server/explain/running.ts';
import type { NamespacePolicy } from '#server/namespace-policy.ts';
import type { NodeFeeds } from '#server/node-feeds.ts';

import type { ServerFlags } from './flags/server.ts';
import { sessionRules } from './flags/sessions.ts';

export interface ExplainerOptions {
  readonly flags: ServerFlags;
  readonly baseArn: string;
  readonly kubernetes: Kubernetes;
  readonly policy: NamespacePolicy;
  readonly confirmation: Confirmation;
  readonly credentials: StsCredentialCache;
  readonly feeds: NodeFeeds;
}

/** Answers `kiam explain` from the memory of this replica; other replicas have their own. */
export function createExplainer({
  flags,
  baseArn,
  kubernetes,
  policy,
  ...sources
}: ExplainerOptions): ExplainRouteOptions['explain'] {
  const { agentIdentity } = flags;
  const view = viewOf(kubernetes);
  const options: CollectOptions = {
    source: `as ${hostname()} holds it in memory (process ${process.pid}); other replicas have memories of their own`,
    pods: kubernetes.pods,
    knowsAddress: () => true,
    nodeOf: (pod) => nodeAsProven(pod, agentIdentity),
    namespaces: kubernetes.namespaces,
    servesTokens: flags.containerCredentials,
    resolve: (role) => resolveRole(role, baseArn),
    decide: (pod) => policy.decide(pod, pod.role),
    sessions: sessionRules(flags),
    running: (pod, identity) => runningFacts({ ...sources, view, agentIdentity }, pod, identity),
  };
  return (namespace, name) => explain(collectFacts(options, namespace, name));
}

/** The age of the server's view of the cluster (its upper bound), and what is wrong with the view. */
export function viewOf(kubernetes: Kubernetes): () => { viewAgeMs: number; viewProblem: string | undefined } {
  return () => {
    const { pods, namespaces, serviceAccounts = namespaces } = kubernetes.status();
    const viewAgeMs = Math.max(pods.confirmedAgeMs, namespaces.confirmedAgeMs, serviceAccounts.confirmedAgeMs);
    return { viewAgeMs, viewProblem: pods.lastError ?? namespaces.lastError ?? serviceAccounts.lastError };
  };
}

/** The node that the pod's agent has proved; undefined if agents do not have to prove one. */
export function nodeAsProven({ nodeName, hostIps: [address] }: PodRecord, mode: AgentIdentityMode): NodeId | undefined {
  if (mode === 'off') return undefined;
  if (mode === 'token') return { by: 'name', name: nodeName };
  return address === undefined ? undefined : { by: 'address', address };
}
