import type { SessionRules } from '#domain/attribution.ts';
import type { PermittedRules } from '#domain/allowed-roles.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';
import type { Binding, ServiceAccountRecord } from '#domain/service-account.ts';

/** What the checks of pods and namespaces look at. */
export interface Cluster extends PermittedRules {
  /** With the roles that they have by `binding`. */
  readonly pods: readonly PodRecord[];
  readonly namespaces: readonly NamespaceRecord[];
  readonly serviceAccounts: readonly ServiceAccountRecord[];
  /** `--binding` */
  readonly binding: Binding;
  /** `--allowed-session-tags` */
  readonly allowedTags: readonly string[];
  readonly sessions: SessionRules;
  /** Whether the servers have `--container-credentials`; undefined where that is not known. */
  readonly containerCredentials: boolean | undefined;
}

/** The pods that have not ended. */
export function livePods({ pods }: Cluster): PodRecord[] {
  return pods.filter(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed');
}

/** The pods that have a role, by themselves or by their ServiceAccount, and have not ended. */
export function podsWithRole(cluster: Cluster): PodRecord[] {
  return livePods(cluster).filter((pod) => pod.role !== '');
}

/** The pods that an agent can tell from others, by the namespace that they are in. */
export function servedPodsByNamespace(cluster: Cluster): Map<string, PodRecord[]> {
  return Map.groupBy(podsWithRole(cluster).filter(ownsItsAddress), (pod) => pod.namespace);
}

/** Whether what stands before short role names must be known to judge a role. */
export function isShort(role: string): boolean {
  return !role.startsWith('arn:');
}

/** Pods that are alike in all that matters, such as replicas: `app-1 and 4 more`. */
export function namesOf(pods: readonly PodRecord[]): string {
  const [first, ...others] = pods;
  return `${first?.name ?? ''}${others.length === 0 ? '' : ` and ${others.length} more`}`;
}
