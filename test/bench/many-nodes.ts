import { SERVER_RULES } from '#sandbox/kubernetes-api/access.ts';
import type { World } from '#sandbox/world.ts';

export const nodeAddress = (node: number): string => `127.2.${node >> 8}.${node & 255}`;
export const podAddress = (node: number, pod: number): string => `10.${node >> 8}.${node & 255}.${pod + 2}`;
/** What deploy/server-rbac.yaml grants. */
export const SERVER_RULES_WITH_TOKENS = [
  ...SERVER_RULES,
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
];

export function putPod(world: World, options: { name: string; node: number; address: string; role?: string }): string {
  const { name, node, address, role } = options;
  const stored = world.api.putPod({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: role === undefined ? 'kube-system' : 'team',
      name,
      annotations: role === undefined ? {} : { 'iam.amazonaws.com/role': role },
    },
    spec: {
      nodeName: `node-${node}`,
      containers: [{ name: 'main', image: 'app' }],
      ...(role === undefined ? { hostNetwork: true } : {}),
    },
    status: { phase: 'Running', hostIP: nodeAddress(node), podIP: address, podIPs: [{ ip: address }] },
  });
  const { metadata } = stored as { metadata: { uid: string } };
  return metadata.uid;
}

/** The token of each node's agent, whose pod is on the host's network and so is not told to it. */
export function agentTokens(world: World, count: number): string[] {
  world.api.createServiceAccount('kube-system', 'kiam-agent');
  return Array.from({ length: count }, (_, node) =>
    world.api.serviceAccountToken({
      namespace: 'kube-system',
      serviceAccount: 'kiam-agent',
      pod: {
        name: `kiam-agent-${node}`,
        uid: putPod(world, { name: `kiam-agent-${node}`, node, address: nodeAddress(node) }),
      },
      audiences: ['kiam-server'],
    }),
  );
}
