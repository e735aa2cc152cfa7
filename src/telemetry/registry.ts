import { collectDefaultMetrics, Registry } from 'prom-client';

export interface RegistryOptions {
  /** Whether the Node process's own metrics are among them; they cost a timer that ticks, so tests leave them out. */
  readonly processMetrics: boolean;
}

/**
 * Node's measure of the event loop's lag includes this interval, so that an idle process shows it as its lag. 10 ms is what
 * dashboards for prom-client expect; it costs a quarter of a percent of a core.
 */
const EVENT_LOOP_PRECISION_MS = 10;

/** A registry of one daemon. Nothing is registered in prom-client's global one. */
export function createRegistry({ processMetrics }: RegistryOptions): Registry {
  const registry = new Registry();
  if (processMetrics) {
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  }
  return registry;
}
