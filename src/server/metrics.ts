import { Counter, type Registry } from 'prom-client';

export interface ServerMetrics {
  /** Calls of agents whose node is not known, by the address that they come from. */
  readonly unprovenAgents: Counter<'address'>;
}

/** What the server counts of the agents, beside Kiam's metrics. */
export function createServerMetrics(registry: Registry): ServerMetrics {
  return {
    unprovenAgents: new Counter({
      name: 'kiam_server_unproven_agent_calls_total',
      help: 'Calls of agents that could not be held to a node, by the address they came from.',
      labelNames: ['address'],
      registers: [registry],
    }),
  };
}
