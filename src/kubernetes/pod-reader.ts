import type { PodRecord, PodReading } from '#domain/pod.ts';
import type { KubernetesConnection } from './connection.ts';
import { readObject } from './object-reader.ts';

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
