import { ROLE_ANNOTATION } from '#domain/pod.ts';

import type { ApiClient } from '../support/api-client.ts';
import { type NodeName, NODES } from './control-plane.ts';

export interface RunningPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly address: string;
}

export interface PodToRun {
  readonly namespace: string;
  readonly name: string;
  readonly address: string;
  readonly role?: string;
  readonly hostNetwork?: boolean;
  readonly serviceAccountName?: string;
  /** Default the first. */
  readonly node?: NodeName;
  /** For whom the pod has a projected token: a kubelet may ask for no other. */
  readonly tokenAudience?: string;
}

/** Makes a pod and does what a scheduler and a kubelet would: binds it to the node, gives it its address, starts it. */
export async function runPod(admin: ApiClient, pod: PodToRun): Promise<RunningPod> {
  const { namespace, name, address, role, hostNetwork = false, serviceAccountName = 'default', tokenAudience } = pod;
  const node = NODES.find((known) => known.name === pod.node) ?? NODES[0];
  const source = { serviceAccountToken: { path: 'token', audience: tokenAudience, expirationSeconds: 3600 } };
  const volumes = tokenAudience === undefined ? [] : [{ name: 'token', projected: { sources: [source] } }];
  const made = await admin.demand('POST', `/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name, annotations: role === undefined ? {} : { [ROLE_ANNOTATION]: role } },
    spec: {
      nodeName: node.name,
      hostNetwork,
      serviceAccountName,
      volumes,
      containers: [{ name: 'main', image: 'example.com/app' }],
    },
  });
  await admin.demand('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}/status`, {
    status: {
      phase: 'Running',
      hostIP: node.address,
      hostIPs: [{ ip: node.address }],
      podIP: address,
      podIPs: [{ ip: address }],
    },
  });
  return { namespace, name, uid: made.metadata.uid, address };
}

/** Many at a time, each with an address of 127.2.0.0/16 and one of a hundred roles. */
export async function runPods(admin: ApiClient, namespace: string, count: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const address = `127.2.${index >> 8}.${index & 255}`;
      await runPod(admin, { namespace, name: `pod-${index}`, address, role: `role-${index % 100}` });
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

/** A token of a service account, as a kubelet asks for it; `pod` is the one that it is made for. */
export async function serviceAccountToken(
  admin: ApiClient,
  options: { readonly namespace: string; readonly name: string; readonly audience?: string; readonly pod?: RunningPod },
): Promise<string> {
  const { namespace, name, audience, pod } = options;
  const { status } = await admin.demand('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      expirationSeconds: 3600,
      ...(audience === undefined ? {} : { audiences: [audience] }),
      ...(pod === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid } }),
    },
  });
  return status.token;
}
