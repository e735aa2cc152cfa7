import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Child, startChild } from '#sandbox/child.ts';
import { startWorld, type World, type WorldOptions } from '#sandbox/world.ts';

import { type Answer, FROM_SOURCES } from '../support/cluster.ts';
import { KUBE2IAM_FIXTURES } from './recorded.ts';

export interface Kube2iamDaemon {
  readonly child: Child;
  readonly port: number;
  readonly metricsPort: number;
}

/** A world in which `kiam kube2iam` runs on one node. */
export interface Kube2iamNode {
  readonly world: World;
  /** `flags` come after those that tell it of the world. */
  start(flags: readonly string[], node?: string): Promise<Kube2iamDaemon>;
  close(): Promise<void>;
}

export async function startKube2iamNode(options: Partial<WorldOptions> = {}): Promise<Kube2iamNode> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-kube2iam-'));
  const world = await startWorld({ folder, path: process.env['PATH'] ?? '', ...options });
  const children: Child[] = [];
  return {
    world,
    start: async (flags, node = 'node-1') => {
      const child = startChild({
        name: 'kube2iam',
        argv: [
          ...FROM_SOURCES.server,
          'kube2iam',
          '--log-format=json',
          '--app-port=0',
          '--metrics-port=0',
          `--node=${node}`,
          `--kubeconfig=${world.kubeconfigs.server}`,
          `--metadata-addr=${new URL(world.metadata.url).host}`,
          ...flags,
        ],
        environment: { ...world.environment.server },
      });
      children.push(child);
      const port = async (message: string): Promise<number> =>
        Number(
          /:(\d+)"/.exec(/"address":"[^"]*"/.exec(await child.line(new RegExp(`"msg":"${message}"`)))?.[0] ?? '')?.[1],
        );
      return { child, port: await port('listening'), metricsPort: await port('metrics: listening').catch(() => 0) };
    },
    close: async () => {
      await Promise.all(children.map((child) => child.stop('SIGKILL')));
      await world.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What ours says for a stand-in that did not answer it within the time that a request waits. */
const TOO_LATE = /^(the API server|AWS STS) did not answer in time\n$/;

/** Asks again, up to five times, where a stand-in was too late: on a busy machine they are. */
export async function askInTime(ask: () => Promise<Answer>): Promise<Answer> {
  let answer = await ask();
  for (let again = 0; again < 5 && TOO_LATE.test(answer.body); again += 1) answer = await ask();
  return answer;
}

/** Puts into the world what stood in the cluster that kube2iam was recorded in. */
export function putKube2iamFixtures({ api, sts }: World): void {
  for (const { name, annotations } of KUBE2IAM_FIXTURES.namespaces) {
    api.putNamespace({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations: { ...annotations } } });
  }
  for (const pod of KUBE2IAM_FIXTURES.pods) {
    const { namespace, name, ip, phase = 'Running', hostNetwork = false, nodeName = 'node-1', annotations } = pod;
    api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, annotations: { ...annotations } },
      spec: { nodeName, hostNetwork, containers: [{ name: 'main', image: 'app' }] },
      status: { phase, hostIP: '127.0.0.1', podIP: ip, podIPs: [{ ip }] },
    });
  }
  const behaviours = { deny: { deny: true }, throttle: { throttle: true }, '500': { fail: true } } as const;
  for (const [roleArn, how] of Object.entries(KUBE2IAM_FIXTURES.sts.perRole)) sts.role(roleArn, behaviours[how]);
}
