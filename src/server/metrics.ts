import { Counter, Gauge, type Registry } from 'prom-client';

import { createBoundedLabel } from '#telemetry/bounded-label.ts';

export interface ServerMetrics {
  /** Counts a call of an agent whose node is not known, by the address that it comes from. */
  readonly countUnproven: (address: string) => void;
}

/** How many addresses are counted apart; those that come later are counted together, as `other`. */
const MOST_ADDRESSES = 100;

/** What the server counts of the agents, beside Kiam's metrics. `wholeSetsWaiting` is read when somebody looks. */
export function createServerMetrics(registry: Registry, wholeSetsWaiting: () => number): ServerMetrics {
  const waiting: Gauge = new Gauge({
    name: 'kiam_server_whole_sets_waiting',
    help: "Agents that wait for the whole set of their node's pods.",
    registers: [registry],
    collect: (): void => waiting.set(wholeSetsWaiting()),
  });
  const unproven = new Counter({
    name: 'kiam_server_unproven_agent_calls_total',
    help: 'Calls of agents that could not be limited to a node, by the address they came from; addresses after the first 100 are counted as other.',
    labelNames: ['address'],
    registers: [registry],
  });
  const bounded = createBoundedLabel(MOST_ADDRESSES);
  return { countUnproven: (address) => unproven.inc({ address: bounded(address) }) };
}
