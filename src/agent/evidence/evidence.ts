import { isIPv4 } from 'node:net';

import type { Clock } from '#runtime/clock.ts';

import type { Evidence } from '../ports.ts';
import { createBridgePorts } from './bridge.ts';
import { podInterfaceKey } from './interfaces.ts';
import type { KernelFiles } from './kernel-files.ts';
import { createRouteReader } from './route-reader.ts';
import type { DirectRoute } from './routes.ts';

/** What the kernel shows of an address in canonical form at this moment. Never throws. */
export type ReadEvidence = (address: string) => Evidence;

/**
 * Reads from the kernel who has an address: a pod's address belongs to one interface, which is removed with the pod. Where each
 * pod has a route of its own (Calico, Amazon VPC CNI) that is the route's device; on a bridge it is the interface behind the
 * port where the pod's MAC was learned. Names, indexes, MACs and port numbers may come back with an address: see
 * `podInterfaceKey`. An interface that serves more than one address is no evidence, and neither is anything that leaves a
 * doubt.
 */
export function createEvidenceReader(files: KernelFiles, clock: Pick<Clock, 'monotonic'>): ReadEvidence {
  const routes = createRouteReader(files, clock);
  const findBridgePort = createBridgePorts(files);

  const byDevice = ({ device, isPrivate }: DirectRoute): Evidence => {
    const key = podInterfaceKey(files, device);
    if (!isPrivate) return none(`interface ${device} serves many addresses`, key);
    return key === undefined ? none(`interface ${device} is none of a pod`) : { kind: 'interface', key };
  };

  const read4 = (address: string): Evidence => {
    const route = routes.find4(address);
    if (route === undefined) return none('no route to the address is certain');
    const port = route.isPrivate ? undefined : findBridgePort(route.device, address);
    if (port === undefined) return byDevice(route);
    if (!port.isPrivate) return none(`several are behind one port of ${route.device}`, port.key);
    return { kind: 'interface', key: port.key };
  };

  const read6 = (address: string): Evidence => {
    const route = routes.find6(address);
    if (route === undefined) return none('no route to the address alone is certain');
    return byDevice(route);
  };

  return (address) => (isIPv4(address) ? read4(address) : read6(address));
}

function none(reason: string, behind?: string): Evidence {
  return { kind: 'none', reason, behind };
}
