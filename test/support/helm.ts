import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { stringify } from 'yaml';

const CHART = fileURLToPath(new URL('../../deploy/helm/kiam', import.meta.url));

export interface HelmRenderer {
  /** Why nothing can be rendered here, or false. */
  readonly skip: string | false;
  /** Renders the project's chart with values. */
  run(values: object): { status: number | null; stdout: string; stderr: string };
  remove(): void;
}

/** Helm's own template engine, in a program of some lines that is built here: the daemons never need Helm or Go. */
export async function buildHelmRenderer(): Promise<HelmRenderer> {
  const folder = mkdtempSync(join(tmpdir(), 'kiam-helm-'));
  await cp(new URL('../integration/helm-renderer/', import.meta.url), folder, { recursive: true });
  return {
    skip: build(folder) ?? false,
    run: (values) => {
      const file = join(folder, 'values.yaml');
      writeFileSync(file, stringify(values));
      return spawnSync(join(folder, 'render'), [CHART, file], { encoding: 'utf8' });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function build(folder: string): string | undefined {
  if (spawnSync('go', ['version']).status !== 0)
    return 'NOT TESTED: go is not on the PATH, so the chart is not rendered';
  const { status, stderr } = spawnSync('go', ['build', '-o', join(folder, 'render'), '.'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 170_000,
  });
  return status === 0 ? undefined : `NOT TESTED: Helm's engine could not be built: ${stderr.slice(-300)}`;
}
