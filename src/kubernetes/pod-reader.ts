import type { PodRecord } from '#domain/pod.ts';
import type { KubernetesConnection } from './connection.ts';
import { readObject } from './object-reader.ts';

/** What the API server says about a pod at this moment. */
export type PodReading =
  | { readonly kind: 'found'; readonly pod: PodRecord }
  /** No pod has this name. */
  | { readonly kind: 'gone' }
  /** It could not be asked, or its answer makes no sense. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** Makes a reader of one pod by name: see {@link readObject}. It never rejects. */
export function createPodReader(options: {
  readonly connection: KubernetesConnection;
  readonly parse: (value: unknown) => PodRecord | undefined;
}): (namespace: string, name: string, signal: AbortSignal) => Promise<PodReading> {
  return async (namespace, name, signal) => {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const reading = await readObject({ ...options, path, signal });
    return reading.kind === 'found' ? { kind: 'found', pod: reading.value } : reading;
  };
}
