import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';

import type { KubernetesConnection } from './connection.ts';
import { listAll, type ListOptions } from './list.ts';
import { parseNamespaceObject } from './namespace-record.ts';
import { createPodParser } from './pod-record.ts';

export interface ClusterContents {
  readonly pods: readonly PodRecord[];
  readonly namespaces: readonly NamespaceRecord[];
}

export type ClusterReading =
  | { readonly ok: true; readonly contents: ClusterContents }
  /** Why it could not be read: one line that names the resource. */
  | { readonly ok: false; readonly reason: string };

/** Reads every pod and namespace once, expressions in full. Never rejects. */
export async function readCluster(connection: KubernetesConnection, signal: AbortSignal): Promise<ClusterReading> {
  try {
    const pods = await listOnce({ connection, path: '/api/v1/pods', parse: createPodParser(), signal });
    const parseWhole = (value: unknown) => parseNamespaceObject(value, Number.POSITIVE_INFINITY);
    const namespaces = await listOnce({ connection, path: '/api/v1/namespaces', parse: parseWhole, signal });
    return { ok: true, contents: { pods, namespaces } };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** A snapshot may be compacted away while a large list is read; it then begins anew. */
const ATTEMPTS = 3;

async function listOnce<R>(options: ListOptions<R>): Promise<readonly R[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const outcome = await listAll(options);
    if (outcome.kind === 'listed') return outcome.records;
    if (outcome.kind === 'failed') {
      throw new Error(`GET ${options.path} is answered ${outcome.failure.status}: ${outcome.failure.message}`);
    }
  }
  throw new Error(`GET ${options.path} expires before it has been read`);
}
