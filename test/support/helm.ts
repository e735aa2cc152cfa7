import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { stringify } from 'yaml';

export const CHART = fileURLToPath(new URL('../../deploy/helm/kiam', import.meta.url));

export interface HelmOutcome {
  /** The exit code; null when it could not be run or took too long. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Helm's own command line. */
export interface Helm {
  /** Why there is none here, or false. */
  readonly skip: string | false;
  /** Runs a command of it, in the cluster of a kubeconfig where one is given. */
  run(args: readonly string[], kubeconfig?: string): Promise<HelmOutcome>;
  /** Renders the project's chart with values, as release `kiam` in `kube-system`, without a cluster. */
  template(values: object): HelmOutcome;
  /** Writes values to a file of its own and returns the arguments that name it. */
  values(values: object): readonly string[];
  remove(): void;
}

/** A Helm that was built by `go install` believes that it is of Kubernetes 1.20. */
const KUBERNETES = ['--kube-version', '1.34.0'];

/** Finds Helm on the PATH or where `go install` puts it. With KIAM_REQUIRE_HELM=1 it throws where there is none. */
export function findHelm(): Helm {
  const folder = mkdtempSync(join(tmpdir(), 'kiam-helm-'));
  const program = ['helm', join(goPrograms(), 'helm')].find((name) => spawnSync(name, ['version']).status === 0);
  const skip =
    program === undefined ? 'NOT TESTED: helm is not on the PATH (go install helm.sh/helm/v3/cmd/helm@latest)' : false;
  if (skip !== false && process.env['KIAM_REQUIRE_HELM'] === '1') throw new Error(skip);
  let count = 0;
  const environment = { PATH: process.env['PATH'] ?? '', HOME: folder };
  const values: Helm['values'] = (given) => {
    count += 1;
    const file = join(folder, `values-${count}.yaml`);
    writeFileSync(file, stringify(given));
    return ['--values', file];
  };
  return {
    skip,
    // The cluster may be one of this process, so that nothing here may wait for it in place of serving it.
    run: (args, kubeconfig) =>
      new Promise((resolve) => {
        const env = kubeconfig === undefined ? environment : { ...environment, KUBECONFIG: kubeconfig };
        execFile(program ?? 'helm', args, { env, timeout: 120_000 }, (error, stdout, stderr) => {
          resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : null, stdout, stderr });
        });
      }),
    values,
    template: (given) => {
      const args = ['template', 'kiam', CHART, '--namespace', 'kube-system', ...KUBERNETES, ...values(given)];
      return spawnSync(program ?? 'helm', args, { encoding: 'utf8', env: environment, timeout: 60_000 });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Where `go install` puts programs; a folder that is not there without Go. */
export function goPrograms(): string {
  const { stdout } = spawnSync('go', ['env', 'GOPATH'], { encoding: 'utf8' });
  return join((stdout ?? '').trim() || '/nowhere', 'bin');
}
