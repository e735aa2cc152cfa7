import type { PodRecord } from './pod.ts';

/** What identifies a node. */
export type NodeId =
  /** By `spec.nodeName` of its pods, which nobody can change once it is set. */
  | { readonly by: 'name'; readonly name: string }
  /** By an address among `status.hostIPs` of its pods, which the kubelet of each node may set to any value. */
  | { readonly by: 'address'; readonly address: string };

type Placed = Pick<PodRecord, 'nodeName' | 'hostIps'>;

export function isOnNode({ nodeName, hostIps }: Placed, node: NodeId): boolean {
  return node.by === 'name' ? node.name !== '' && nodeName === node.name : hostIps.includes(node.address);
}

/** A text under which a node is kept in a map; no name of a node is the address of another. */
export function nodeKey(node: NodeId): string {
  return node.by === 'name' ? `name ${node.name}` : `address ${node.address}`;
}

/** Every node that a pod is on, by any of its keys; none before it is scheduled. */
export function nodeKeysOf({ nodeName, hostIps }: Placed): readonly string[] {
  const byAddress = hostIps.map((address) => nodeKey({ by: 'address', address }));
  return nodeName === '' ? byAddress : [nodeKey({ by: 'name', name: nodeName }), ...byAddress];
}

/** A node in the words of a person; `''` for a pod that is on none yet. */
export function nodeTextOf({ nodeName, hostIps: [address = ''] }: Placed): string {
  return nodeName === '' ? address : nodeName;
}

/** The caller of a lookup. Where its node is known, only that node's pods count. */
export interface Asker {
  readonly node?: NodeId | undefined;
}
