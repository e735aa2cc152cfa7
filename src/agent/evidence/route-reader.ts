import type { Clock } from '#runtime/clock.ts';

import type { KernelFiles } from './kernel-files.ts';
import { neighboursOf } from './neighbours.ts';
import { type DirectRoute, findHostRoute6, readRoutes4, type Routes } from './routes.ts';

/** Finds the route to an address on this node; undefined where none is certain. */
export interface RouteReader {
  find4(address: string): DirectRoute | undefined;
  /** Routes to one address alone. */
  find6(address: string): DirectRoute | undefined;
}

/** A longer table, of some 500 routes and more, takes milliseconds to read: it is read once in so long, whoever connects. */
const LONG_BYTES = 64 * 1024;
const LONG_REST_MS = 1000;

/** The kernel needs more time for each IPv6 route, and shows no neighbours to make sure by: of more there is no evidence. */
const MOST_ROUTES_6 = 512;

/**
 * Reads the node's routes for every connection, or, where they are many, once a second. Then a route holds if the kernel's
 * only neighbour of that address is behind the same device: the kernel has just sent an answer there, for no connection is
 * accepted without one.
 */
export function createRouteReader(files: KernelFiles, clock: Pick<Clock, 'monotonic'>): RouteReader {
  let routes: Routes | undefined;
  let isLong = false;
  let readAgainMs = Number.NEGATIVE_INFINITY;
  const isNeighbour = (address: string, device: string): boolean => {
    const table = files.read('/proc/net/arp')?.toString('latin1') ?? '';
    const [only, ...others] = neighboursOf(table, address);
    return only?.device === device && others.length === 0;
  };
  return {
    find4: (address) => {
      const nowMs = clock.monotonic();
      if (!isLong || nowMs >= readAgainMs) {
        const table = files.read('/proc/net/route');
        routes = table === undefined ? undefined : readRoutes4(table.toString('latin1'));
        isLong = table !== undefined && table.length > LONG_BYTES;
        readAgainMs = nowMs + LONG_REST_MS;
      }
      const route = routes?.(address);
      return route !== undefined && isLong && !isNeighbour(address, route.device) ? undefined : route;
    },
    find6: (address) => {
      if (routeCount6(files) > MOST_ROUTES_6) return undefined;
      const table = files.read('/proc/net/ipv6_route')?.toString('latin1');
      return table === undefined ? undefined : findHostRoute6(table, address);
    },
  };
}

/** The fourth number of /proc/net/rt6_stats (Linux, net/ipv6/route.c, `rt6_stats_seq_show`): how many entries there are. */
function routeCount6(files: KernelFiles): number {
  const text = files.read('/proc/net/rt6_stats')?.toString('latin1') ?? '';
  return Number.parseInt(text.split(' ')[3] ?? '0', 16);
}
