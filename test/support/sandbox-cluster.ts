import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { createCluster, type SandboxCluster } from '#sandbox/cluster-tests/cluster.ts';
import type { Image } from '#sandbox/cluster-tests/container.ts';
import type { SandboxNode } from '#sandbox/kubernetes-api/kubelet.ts';

const LISTEN_INSIDE = fileURLToPath(new URL('../sandbox/programs/listen-inside.ts', import.meta.url));

const CONTROL_PLANE = 'node-role.kubernetes.io/control-plane';
const controlPlane = (index: number): SandboxNode => ({
  name: `control-${index}`,
  address: `198.18.0.${10 + index}`,
  labels: { [CONTROL_PLANE]: '', 'kubernetes.io/role': 'master' },
  taints: [{ key: CONTROL_PLANE, effect: 'NoSchedule' }],
});
const worker = (index: number): SandboxNode => ({
  name: `node-${index}`,
  address: `198.18.0.${20 + index}`,
  labels: { 'kubernetes.io/role': 'node' },
});

export interface TestCluster extends SandboxCluster {
  /** Runs a line of a shell where kubectl reaches the cluster; rejects with what it said when it fails. */
  shell(line: string): Promise<string>;
}

/** Two nodes of the control plane, two others, Calico's interfaces. `images` are programs by name, up to their own arguments. */
export async function startTestCluster(options: {
  readonly images: Readonly<Record<string, readonly string[]>>;
  /** Where the shell's lines run. */
  readonly workingFolder: string;
}): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-cluster-'));
  const path = process.env['PATH'] ?? '';
  const cluster = await createCluster({
    folder,
    path,
    pid: process.pid,
    programs: { node: [process.execPath], listenInside: LISTEN_INSIDE },
    nodes: [controlPlane(1), controlPlane(2), worker(1), worker(2)],
    interfacePrefix: 'cali',
    images: ({ environment, certificates }) => {
      const image = (argv: readonly string[]): Image => ({
        argv,
        // STS has its own name here and a certificate of the sandbox's authority.
        environment: { ...environment.clean, AWS_CA_BUNDLE: certificates.ca },
      });
      return Object.fromEntries(Object.entries(options.images).map(([name, argv]) => [name, image(argv)]));
    },
  });
  const closeSync = (): void => cluster.closeSync();
  process.once('exit', closeSync);
  return {
    ...cluster,
    shell: (line) =>
      new Promise((resolve, reject) => {
        const [program = 'ip', ...args] = cluster.exec;
        const env = { PATH: path, HOME: folder, KUBECONFIG: cluster.world.kubeconfigs.admin };
        const limits = { cwd: options.workingFolder, env, timeout: 150_000 };
        execFile(program, [...args, 'bash', '-o', 'pipefail', '-c', line], limits, (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error([line, stdout, stderr, ...lastWords(cluster)].join('\n')));
        });
      }),
    close: async () => {
      await cluster.close();
      process.off('exit', closeSync);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What the daemons said last. */
function lastWords(cluster: SandboxCluster): string[] {
  return ['server', 'agent', 'kube2iam'].flatMap((role) => [`-- ${role}`, ...cluster.log(role).slice(-10)]);
}
