import type { PodRecord } from '#domain/pod.ts';
import type { KubernetesConnection } from './connection.ts';
import { failureOf } from './list.ts';
import { parseJson } from './json-fields.ts';

/** What the API server says about a pod at this moment. */
export type PodReading =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  /** No pod has this name. */
  | { readonly kind: 'gone' }
  /** It could not be asked, or its answer makes no sense. */
  | { readonly kind: 'unknown'; readonly reason: string };

/**
 * Makes a reader of one pod by name. It sends no resourceVersion, so the answer is the latest state that the store holds
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list). It never rejects.
 */
export function createPodReader(options: {
  readonly connection: KubernetesConnection;
  readonly parse: (value: unknown) => PodRecord | undefined;
}): (namespace: string, name: string, signal: AbortSignal) => Promise<PodReading> {
  const { connection, parse } = options;
  return async (namespace, name, signal) => {
    try {
      const response = await connection.request({
        method: 'GET',
        path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`,
        headersWithinMs: 5_000,
        silenceLimitMs: 5_000,
        signal,
      });
      if (response.status !== 200) {
        const { status, message } = await failureOf(response);
        return status === 404 ? { kind: 'gone' } : { kind: 'unknown', reason: `${status} ${message}` };
      }
      const pod = parse(parseJson(await response.text(8 * 1024 * 1024)));
      return pod === undefined ? { kind: 'unknown', reason: 'the answer is no pod' } : { kind: 'found', pod };
    } catch (error) {
      return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) };
    }
  };
}
