import type { World, WorldOptions } from '#sandbox/world.ts';

import { type Cluster, type Programs, startCluster } from '../support/cluster.ts';

import { FIXTURES } from './recorded.ts';

/** A cluster that holds what the recorded one held. */
export async function startRecordedCluster(programs?: Programs, options: Partial<WorldOptions> = {}): Promise<Cluster> {
  const cluster = await startCluster({ instance: { instanceId: 'i-0rig' }, ...options }, programs);
  putFixtures(cluster.world);
  return cluster;
}

function putFixtures({ api, sts }: World): void {
  for (const { name, annotations } of FIXTURES.namespaces) {
    api.putNamespace({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations: { ...annotations } } });
  }
  for (const pod of FIXTURES.pods) {
    const { namespace, name, ip, phase = 'Running', hostNetwork = false, deletionTimestamp, annotations } = pod;
    api.putPod({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace,
        name,
        annotations: { ...annotations },
        ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      },
      spec: { nodeName: 'node-1', hostNetwork, containers: [{ name: 'main', image: 'app' }] },
      status: { phase, hostIP: '127.0.0.1', podIP: ip, podIPs: [{ ip }] },
    });
  }
  const behaviours = { deny: { deny: true }, throttle: { throttle: true }, '500': { fail: true } } as const;
  for (const [roleArn, how] of Object.entries(FIXTURES.sts.perRole)) sts.role(roleArn, behaviours[how]);
}
