import { Registry } from 'prom-client';

import { registerProcessMetrics } from './process-metrics.ts';

export interface RegistryOptions {
  /** Whether the Node process's own metrics are among them; they cost a timer that ticks, so tests leave them out. */
  readonly processMetrics: boolean;
}

/** A registry of one daemon. Nothing is registered in prom-client's global one. */
export function createRegistry({ processMetrics }: RegistryOptions): Registry {
  const registry = new Registry();
  if (processMetrics) registerProcessMetrics(registry);
  return registry;
}
