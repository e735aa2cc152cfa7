import { collectDefaultMetrics, Registry } from 'prom-client';

export interface RegistryOptions {
  /** Whether the Node process's own metrics are among them; they cost a timer that ticks, so tests leave them out. */
  readonly processMetrics: boolean;
}

/** Precision of the event loop's lag. Finer than this would wake an idle process more often than it tells anything. */
const EVENT_LOOP_PRECISION_MS = 100;

/** A registry of one daemon. Nothing is registered in prom-client's global one. */
export function createRegistry({ processMetrics }: RegistryOptions): Registry {
  const registry = new Registry();
  if (processMetrics) {
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  }
  return registry;
}
