import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Where the programs are, or why nothing can be tested: text for `skip`. */
export type Assets =
  | { readonly skip: false; readonly folder: string; readonly path: string }
  | { readonly skip: string };

/**
 * The folder that KUBEBUILDER_ASSETS names, with etcd and kube-apiserver in it, as envtest reads it
 * (https://book.kubebuilder.io/reference/envtest); kubectl may be there or on the PATH. With KIAM_REQUIRE_APISERVER=1 nothing is
 * skipped: where something is missing it throws.
 */
export function findAssets(): Assets {
  const folder = process.env['KUBEBUILDER_ASSETS'] ?? '';
  const path = `${folder}:${process.env['PATH'] ?? ''}`;
  const missing =
    folder === '' ? 'KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver' : lacking(folder, path);
  if (missing === undefined) return { skip: false, folder, path };
  if (process.env['KIAM_REQUIRE_APISERVER'] === '1') throw new Error(`a real API server is required: ${missing}`);
  return { skip: `NOT TESTED AGAINST A REAL API SERVER: ${missing}` };
}

function lacking(folder: string, path: string): string | undefined {
  for (const program of ['etcd', 'kube-apiserver']) {
    try {
      accessSync(join(folder, program), constants.X_OK);
    } catch {
      return `there is no program ${program} in KUBEBUILDER_ASSETS=${folder}`;
    }
  }
  const { error } = spawnSync('kubectl', ['version', '--client'], { env: { PATH: path } });
  return error === undefined ? undefined : 'kubectl is neither in KUBEBUILDER_ASSETS nor on the PATH';
}
