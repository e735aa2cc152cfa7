import type { PodRecord } from '#domain/pod.ts';
import { bindPod, type BindingRules, type ServiceAccountRecord } from '#domain/service-account.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { KubernetesConnection } from './connection.ts';
import { listField } from './json-fields.ts';
import { NamespaceCache } from './namespace-cache.ts';
import { parseNamespaceObject } from './namespace-record.ts';
import { readObject, type Reading } from './object-reader.ts';
import { PodCache } from './pod-cache.ts';
import { createPodParser } from './pod-record.ts';
import { createServiceAccountParser } from './service-account-record.ts';

/** What decides about one pod: the pod with its role, its namespace, and the pods that have its address. */
export interface PodSurroundings {
  readonly pods: PodCache;
  readonly namespaces: NamespaceCache;
  /** Addresses of which all claimants are known. */
  readonly knownAddresses: ReadonlySet<string>;
}

export type SurroundingsReading =
  | { readonly ok: true; readonly value: PodSurroundings }
  | { readonly ok: false; readonly reason: string };

export interface SurroundingsOptions {
  readonly connection: KubernetesConnection;
  readonly namespace: string;
  readonly name: string;
  /** As the servers have them. */
  readonly rules: BindingRules;
  readonly parseNamespace?: typeof parseNamespaceObject | undefined;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Reads what decides about one pod, in four requests. Never rejects. */
export async function readSurroundings(options: SurroundingsOptions): Promise<SurroundingsReading> {
  const { connection, namespace, name, rules, parseNamespace = parseNamespaceObject, logger, signal } = options;
  const parse = createPodParser(rules.allowedTags);
  const namespacePath = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  const [pod, ownNamespace] = await Promise.all([
    readObject({ connection, path: `${namespacePath}/pods/${encodeURIComponent(name)}`, parse, signal }),
    readObject({ connection, path: namespacePath, parse: parseNamespace, signal }),
  ]);
  if (pod.kind === 'unknown') return { ok: false, reason: `the pod cannot be read: ${pod.reason}` };
  if (ownNamespace.kind === 'unknown')
    return { ok: false, reason: `the namespace cannot be read: ${ownNamespace.reason}` };
  const pods = new PodCache({ logger });
  const namespaces = new NamespaceCache({ logger });
  const knownAddresses = new Set<string>();
  if (ownNamespace.kind === 'found') namespaces.target.upsert(ownNamespace.value);
  if (pod.kind === 'found') {
    const account = await readAccountOf(options, pod.value);
    if (account?.kind === 'unknown')
      return { ok: false, reason: `its ServiceAccount cannot be read: ${account.reason}` };
    pods.upsert(bindPod(pod.value, account?.kind === 'found' ? account.value : undefined, rules));
    // The API server selects by the first address alone.
    const [address] = pod.value.addresses;
    const sharers = address === undefined ? undefined : await readPodsAt(options, address, parse);
    if (address !== undefined && sharers !== undefined) knownAddresses.add(address);
    for (const sharer of sharers ?? []) if (sharer.uid !== pod.value.uid) pods.upsert(sharer);
  }
  return { ok: true, value: { pods, namespaces, knownAddresses } };
}

/** Undefined where it does not matter. */
async function readAccountOf(
  { connection, rules: { binding, allowedTags }, signal }: SurroundingsOptions,
  { namespace, serviceAccount, annotated }: PodRecord,
): Promise<Reading<ServiceAccountRecord> | undefined> {
  const hasOwnRole = binding === 'both' && annotated.role !== '';
  if (serviceAccount === '' || binding === 'pod' || (hasOwnRole && allowedTags.length === 0)) return undefined;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(serviceAccount)}`;
  return readObject({ connection, path, parse: createServiceAccountParser(allowedTags), signal });
}

/** Undefined when it is forbidden or the request failed. */
async function readPodsAt(
  { connection, signal }: SurroundingsOptions,
  address: string,
  parsePod: (value: unknown) => PodRecord | undefined,
): Promise<readonly PodRecord[] | undefined> {
  const query = { fieldSelector: `status.podIP=${address}` };
  const parse = (list: unknown): readonly PodRecord[] =>
    listField(list, 'items').flatMap((item) => parsePod(item) ?? []);
  const reading = await readObject({ connection, path: '/api/v1/pods', query, parse, signal });
  return reading.kind === 'found' ? reading.value : undefined;
}
