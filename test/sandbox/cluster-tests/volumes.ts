import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type Json, listAt, textAt, textsAt } from '../json.ts';
import type { KubernetesApi } from '../kubernetes-api/api.ts';
import type { SandboxPod } from '../kubernetes-api/kubelet.ts';

export interface MountedVolume {
  readonly name: string;
  /** Where its files are on this machine. */
  readonly folder: string;
}

/**
 * Writes the Secrets and the projected tokens that a pod mounts, as they are now, below a folder. Other volumes have nothing
 * of their own: their paths are those of this machine. Undefined while a Secret is not there: the pod cannot start.
 */
export async function mountVolumes(
  api: KubernetesApi,
  pod: SandboxPod,
  folder: string,
): Promise<readonly MountedVolume[] | undefined> {
  const mounted: MountedVolume[] = [];
  for (const volume of listAt(pod.spec, 'volumes')) {
    const name = textAt(volume, 'name');
    const into = join(folder, name);
    const files = filesOf(api, pod, volume);
    if (files === undefined) return undefined;
    if (files.size === 0) continue;
    await mkdir(into, { recursive: true });
    for (const [file, content] of files) await writeFile(join(into, file), content, { mode: 0o600 });
    mounted.push({ name, folder: into });
  }
  return mounted;
}

function filesOf(api: KubernetesApi, pod: SandboxPod, volume: Json): Map<string, Buffer> | undefined {
  if (at(volume, 'secret') !== undefined) return filesOfSecret(api, pod, volume);
  const tokens = listAt(volume, 'projected', 'sources').map((source) => at(source, 'serviceAccountToken'));
  const projected = tokens.filter((token) => token !== undefined);
  return new Map(
    projected.map((token) => {
      const audience = textAt(token, 'audience');
      const audiences = audience === '' ? {} : { audiences: [audience] };
      return [textAt(token, 'path'), Buffer.from(api.serviceAccountToken({ ...accountOf(pod), ...audiences }))];
    }),
  );
}

function filesOfSecret(api: KubernetesApi, { namespace }: SandboxPod, volume: Json): Map<string, Buffer> | undefined {
  const secret = api.secret(namespace, textAt(volume, 'secret', 'secretName'));
  if (secret === undefined) return undefined;
  const items = listAt(volume, 'secret', 'items');
  const data = Object.entries(textsAt(secret, 'data'));
  const pathOf = (key: string): string | undefined =>
    items.length === 0
      ? key
      : textAt(
          items.find((item) => textAt(item, 'key') === key),
          'path',
        ) || undefined;
  return new Map(
    data.flatMap(([key, value]) => {
      const path = pathOf(key);
      return path === undefined ? [] : [[path, Buffer.from(value, 'base64')]];
    }),
  );
}

/** Whose token a pod's is. */
export function accountOf(pod: SandboxPod): {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: { readonly name: string; readonly uid: string };
} {
  const { namespace, name, uid, spec } = pod;
  return { namespace, serviceAccount: textAt(spec, 'serviceAccountName') || 'default', pod: { name, uid } };
}
