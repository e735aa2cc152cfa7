import { isIPv4 } from 'node:net';

import type { Evidence } from '../ports.ts';
import { createBridgePorts } from './bridge.ts';
import { podInterfaceKey } from './interfaces.ts';
import type { KernelFiles } from './kernel-files.ts';
import { findHostRoute6, findRoute4 } from './routes.ts';

/** What the kernel shows of an address in canonical form at this moment. Never throws. */
export type ReadEvidence = (address: string) => Evidence;

/**
 * Reads who has an address off the kernel: a pod's address belongs to one interface, which dies with the pod. Where each pod
 * has a route of its own (Calico, Amazon VPC CNI) that is the route's device; on a bridge it is the interface behind the port
 * where the pod's MAC was learned. Names, indexes, MACs and port numbers may come back with an address: see `podInterfaceKey`.
 * An interface that serves more than one address is no evidence, and every doubt is none.
 */
export function createEvidenceReader(files: KernelFiles): ReadEvidence {
  const findBridgePort = createBridgePorts(files);

  const byDevice = (device: string): Evidence => {
    const key = podInterfaceKey(files, device);
    return key === undefined ? none(`interface ${device} is none of a pod`) : { kind: 'interface', key };
  };

  const read4 = (address: string): Evidence => {
    const table = files.read('/proc/net/route')?.toString('latin1');
    const route = table === undefined ? undefined : findRoute4(table, address);
    if (route === undefined) return none('the address is not on this node');
    if (route.isPrivate) return byDevice(route.device);
    const key = findBridgePort(route.device, address);
    return key === undefined ? none(`interface ${route.device} serves many addresses`) : { kind: 'interface', key };
  };

  const read6 = (address: string): Evidence => {
    const table = files.read('/proc/net/ipv6_route')?.toString('latin1');
    const route = table === undefined ? undefined : findHostRoute6(table, address);
    if (route === undefined) return none('the address has no route of its own on this node');
    return route.isPrivate ? byDevice(route.device) : none(`interface ${route.device} serves many addresses`);
  };

  return (address) => (isIPv4(address) ? read4(address) : read6(address));
}

function none(reason: string): Evidence {
  return { kind: 'none', reason };
}
