import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';
import { bindPod, type BindingRules, type ServiceAccountRecord } from '#domain/service-account.ts';

import { describeError } from '#runtime/errors.ts';

import type { KubernetesConnection } from './connection.ts';
import { listAll, type ListOptions } from './list.ts';
import { parseNamespaceObject } from './namespace-record.ts';
import { createPodParser } from './pod-record.ts';
import { createServiceAccountParser } from './service-account-record.ts';

export interface ClusterContents<Pod extends PodRecord = PodRecord> {
  /** Each with the role that it has by its annotations or its ServiceAccount. */
  readonly pods: readonly Pod[];
  readonly namespaces: readonly NamespaceRecord[];
  /** Empty with `--binding=pod`. */
  readonly serviceAccounts: readonly ServiceAccountRecord[];
}

export type ClusterReading<Pod extends PodRecord = PodRecord> =
  | { readonly ok: true; readonly contents: ClusterContents<Pod> }
  /** Why it could not be read: one line that names the resource. */
  | { readonly ok: false; readonly reason: string };

/** Reads every pod, namespace and ServiceAccount once, expressions in full. Never rejects. */
export function readCluster(
  connection: KubernetesConnection,
  rules: BindingRules,
  signal: AbortSignal,
  parseNamespace?: (value: unknown) => NamespaceRecord | undefined,
): Promise<ClusterReading> {
  return readClusterAs(createPodParser(rules.allowedTags), connection, rules, signal, parseNamespace);
}

const parseWhole = (value: unknown): NamespaceRecord | undefined =>
  parseNamespaceObject(value, Number.POSITIVE_INFINITY);

/** As {@link readCluster}, with pods as `parse` reads them. */
export async function readClusterAs<Pod extends PodRecord>(
  parse: (value: unknown) => Pod | undefined,
  connection: KubernetesConnection,
  rules: BindingRules,
  signal: AbortSignal,
  parseNamespace = parseWhole,
): Promise<ClusterReading<Pod>> {
  try {
    const asTheyAre = await listOnce({ connection, path: '/api/v1/pods', parse, signal });
    const namespaces = await listOnce({ connection, path: '/api/v1/namespaces', parse: parseNamespace, signal });
    const { binding, allowedTags } = rules;
    const parseAccount = createServiceAccountParser(allowedTags);
    const accounts = { connection, path: '/api/v1/serviceaccounts', parse: parseAccount, signal };
    const serviceAccounts =
      binding === 'pod' ? [] : await listOnce(accounts, binding === 'both' && allowedTags.length === 0);
    const byName = new Map(serviceAccounts.map((account) => [`${account.namespace}/${account.name}`, account]));
    const pods = asTheyAre.map((pod) => bindPod(pod, byName.get(`${pod.namespace}/${pod.serviceAccount}`), rules));
    return { ok: true, contents: { pods, namespaces, serviceAccounts } };
  } catch (error) {
    return { ok: false, reason: describeError(error) };
  }
}

/** A snapshot may be compacted away while a large list is read; it then begins again. */
const ATTEMPTS = 3;

/** A forbidden list counts as empty where it is optional. */
async function listOnce<R>(options: ListOptions<R>, canDoWithout = false): Promise<readonly R[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const outcome = await listAll(options);
    if (outcome.kind === 'listed') return outcome.records;
    if (outcome.kind === 'failed' && outcome.failure.status === 403 && canDoWithout) return [];
    if (outcome.kind === 'failed') {
      throw new Error(`GET ${options.path} is answered ${outcome.failure.status}: ${outcome.failure.message}`);
    }
  }
  throw new Error(`GET ${options.path} expires before it has been read`);
}
