import { readFile } from 'node:fs/promises';

import { kiamVersion } from '#bin/version.ts';

import { eventually } from '../support/eventually.ts';
import type { ClusterSetting, TestedCluster } from './setting.ts';

/** The namespace of the pods with an SDK; made, and removed, by the tests. */
export const NAMESPACE = 'kiam-cluster-test';

const FIRST_CREDENTIALS_MS = 60_000;

/** Permits the role of the setting and nothing else. */
export async function makeNamespace(cluster: TestedCluster, { role, sdkAuthorities }: ClusterSetting): Promise<void> {
  const permitted = `arn:aws:iam::\\d+:role/${role}`;
  const annotations = { 'iam.amazonaws.com/permitted': permitted };
  await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, annotations } });
  const ca = sdkAuthorities === '' ? '' : await readFile(sdkAuthorities, 'utf8');
  const metadata = { name: 'authorities', namespace: NAMESPACE };
  await cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'ca.pem': ca } });
}

export interface SdkPod {
  readonly name: string;
  readonly node: string;
  /** The annotation; none where it is ''. */
  readonly role: string;
}

/** Starts a pod with a stock SDK on a node, whatever the node's taints are, and waits until its container runs. */
export async function startSdkPod(cluster: TestedCluster, setting: ClusterSetting, pod: SdkPod): Promise<void> {
  const { sdkImage, sdkCommand, sdkAuthorities } = setting;
  const file = '/etc/kiam-cluster-test/ca.pem';
  const names = sdkAuthorities === '' ? [] : ['NODE_EXTRA_CA_CERTS', 'AWS_CA_BUNDLE'];
  await startPod(cluster, pod, {
    image: sdkImage,
    ...(sdkCommand === undefined ? {} : { command: sdkCommand }),
    env: [{ name: 'AWS_REGION', value: 'us-east-1' }, ...names.map((name) => ({ name, value: file }))],
  });
}

/** The same with a container that counts what becomes of its connections to the metadata service. */
export async function startConnectionProbe(
  cluster: TestedCluster,
  { registry }: ClusterSetting,
  pod: SdkPod,
): Promise<void> {
  const program = await readFile(new URL('./connection-probe.ts', import.meta.url), 'utf8');
  await startPod(cluster, pod, {
    image: `${registry === '' ? '' : `${registry}/`}kiam-agent:${kiamVersion()}`,
    command: ['node', '--input-type=module-typescript', '-e', program],
  });
}

/** How many of a probe's connections have come to which end: a status, or the code of an error. */
export async function connections(cluster: TestedCluster, name: string): Promise<Readonly<Record<string, number>>> {
  const last = (await said(cluster, name)).findLast((line) => line.startsWith('{'));
  return last === undefined ? {} : JSON.parse(last);
}

async function startPod(cluster: TestedCluster, pod: SdkPod, container: object): Promise<void> {
  await cluster.kubectl('-n', NAMESPACE, 'delete', 'pod', pod.name, '--ignore-not-found', '--wait');
  await cluster.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.name,
      namespace: NAMESPACE,
      annotations: pod.role === '' ? {} : { 'iam.amazonaws.com/role': pod.role },
    },
    spec: {
      nodeSelector: { 'kubernetes.io/hostname': pod.node },
      tolerations: [{ operator: 'Exists' }],
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'client',
          ...container,
          volumeMounts: [{ name: 'authorities', mountPath: '/etc/kiam-cluster-test' }],
        },
      ],
      volumes: [{ name: 'authorities', configMap: { name: 'authorities' } }],
    },
  });
  await cluster.kubectl('-n', NAMESPACE, 'wait', '--for=condition=Ready', `pod/${pod.name}`, '--timeout=120s');
}

/** All that a pod's SDK has printed. */
export async function said(cluster: TestedCluster, name: string): Promise<string[]> {
  return (await cluster.kubectl('-n', NAMESPACE, 'logs', name)).split('\n').filter((line) => line !== '');
}

export function isRole(line: string, role: string): boolean {
  return line.includes(`:assumed-role/${role}/`);
}

/** Waits until a pod's SDK has had its role. Resolves with the milliseconds; throws with what it said when it has another. */
export async function hasRole(cluster: TestedCluster, name: string, role: string): Promise<number> {
  let lines: string[] = [];
  try {
    return await eventually(`${name} has ${role}`, FIRST_CREDENTIALS_MS, async () => {
      lines = await said(cluster, name);
      return lines.some((line) => isRole(line, role));
    });
  } catch (error) {
    throw new Error(lines.slice(-5).join('\n'), { cause: error });
  }
}
