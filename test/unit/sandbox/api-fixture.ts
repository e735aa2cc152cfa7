import { systemClock } from '#runtime/clock.ts';
import { createAuthority } from '#pki/authority.ts';
import type { JsonObject } from '#sandbox/json.ts';
import { type KubernetesApi, type KubernetesApiOptions, startKubernetesApi } from '#sandbox/kubernetes-api/api.ts';

/** An API whose pods get their addresses at once. */
export async function startApi(options: Partial<KubernetesApiOptions> = {}): Promise<KubernetesApi> {
  return startKubernetesApi({
    clock: systemClock,
    authority: await createAuthority(),
    nodes: [{ name: 'node-1', address: '127.0.0.1' }],
    podAddresses: ['127.1.0.0/24'],
    addressOrder: 'rotate',
    timing: { startDelayMs: 0, terminationDelayMs: 0 },
    ...options,
  });
}

export function podObject(name: string, metadata: JsonObject = {}): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: { containers: [{ name: 'main', image: 'app' }] },
  };
}
