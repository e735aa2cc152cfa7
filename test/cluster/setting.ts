import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { goPrograms } from '../support/helm.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMMAND_LIMIT_MS = 180_000;

/** What the tests are told of a cluster by the environment (docs/testing.md, "A whole cluster"). */
export interface ClusterSetting {
  /** Words before every command, where the API server is reached only so. */
  readonly exec: readonly string[];
  readonly kubeconfig: string;
  /** Put before the names of the two images and a slash; '' where nodes have them by their own names. */
  readonly registry: string;
  readonly sdkImage: string;
  /** Prints the ARN of its caller about once a second, or why it cannot; undefined for the image's own command. */
  readonly sdkCommand: readonly string[] | undefined;
  /** A PEM file of authorities that the SDK's pods are to trust; '' for none. */
  readonly sdkAuthorities: string;
  /** A role that the server may assume. */
  readonly role: string;
}

const SDK_COMMAND = [
  'sh',
  '-c',
  'while sleep 1; do aws sts get-caller-identity --query Arn --output text 2>&1 || echo failed; done',
];

/** Undefined where no cluster is named. */
export function clusterSetting(environment: NodeJS.ProcessEnv): ClusterSetting | undefined {
  const kubeconfig = environment['KUBECONFIG'] ?? '';
  if (kubeconfig === '') return undefined;
  const image = environment['KIAM_CLUSTER_SDK_IMAGE'];
  return {
    exec: (environment['KIAM_CLUSTER_EXEC'] ?? 'env').split(' '),
    kubeconfig,
    registry: environment['KIAM_CLUSTER_REGISTRY'] ?? '',
    sdkImage: image ?? 'public.ecr.aws/aws-cli/aws-cli:latest',
    sdkCommand: image === undefined ? SDK_COMMAND : undefined,
    sdkAuthorities: environment['KIAM_CLUSTER_SDK_CA'] ?? '',
    role: environment['KIAM_CLUSTER_ROLE'] ?? 'app-reader',
  };
}

export interface TestedCluster {
  /** A copy of the project's `deploy`, whose manifests name the images that the nodes have. */
  readonly folder: string;
  /** Runs a line of a shell in the folder above `deploy`, where kubectl and helm reach the cluster; rejects with what it said. */
  shell(line: string): Promise<string>;
  kubectl(...args: readonly string[]): Promise<string>;
  apply(object: object): Promise<void>;
  remove(): Promise<void>;
}

export async function openCluster({ exec, kubeconfig, registry }: ClusterSetting): Promise<TestedCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-cluster-test-'));
  await cp(join(ROOT, 'deploy'), join(folder, 'deploy'), { recursive: true, verbatimSymlinks: true });
  if (registry !== '') await nameImages(join(folder, 'deploy'), registry);
  const [program = 'env', ...before] = exec;
  const env = { PATH: `${process.env['PATH'] ?? ''}:${goPrograms()}`, HOME: folder, KUBECONFIG: kubeconfig };
  const run = (args: readonly string[], input = ''): Promise<string> =>
    new Promise((resolve, reject) => {
      const limits = { cwd: folder, env, timeout: COMMAND_LIMIT_MS, maxBuffer: 64 * 1024 * 1024 };
      const child = execFile(program, [...before, ...args], limits, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error([args.join(' '), stdout.slice(-3000), stderr.slice(-3000)].join('\n')));
      });
      child.stdin?.end(input);
    });
  return {
    folder,
    shell: (line) => run(['bash', '-o', 'pipefail', '-c', line]),
    kubectl: (...args) => run(['kubectl', ...args]),
    apply: async (object) => {
      await run(['kubectl', 'apply', '-f', '-'], JSON.stringify(object));
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** What `kustomize edit set image` does, without kustomize. */
async function nameImages(deploy: string, registry: string): Promise<void> {
  for (const file of ['base/agent.yaml', 'base/server.yaml']) {
    const text = await readFile(join(deploy, file), 'utf8');
    await writeFile(join(deploy, file), text.replaceAll(/image: (kiam-(?:agent|server):)/g, `image: ${registry}/$1`));
  }
}
