import { Counter, Gauge, type Registry } from 'prom-client';

export interface ServerMetrics {
  /** Calls of agents whose node is not known, by the address that they come from. */
  readonly unprovenAgents: Counter<'address'>;
}

/** What the server counts of the agents, beside Kiam's metrics. `wholeSetsWaiting` is read when somebody looks. */
export function createServerMetrics(registry: Registry, wholeSetsWaiting: () => number): ServerMetrics {
  const waiting: Gauge = new Gauge({
    name: 'kiam_server_whole_sets_waiting',
    help: 'Agents that wait to be told of all pods of their node.',
    registers: [registry],
    collect: (): void => waiting.set(wholeSetsWaiting()),
  });
  return {
    unprovenAgents: new Counter({
      name: 'kiam_server_unproven_agent_calls_total',
      help: 'Calls of agents that could not be held to a node, by the address they came from.',
      labelNames: ['address'],
      registers: [registry],
    }),
  };
}
