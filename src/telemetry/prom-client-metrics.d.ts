/** The modules of which prom-client's `collectDefaultMetrics` is made; it comes with no types for them. */
declare module 'prom-client/lib/metrics/*.js' {
  import type { Registry } from 'prom-client';

  export default function register(registry: Registry, config: { readonly eventLoopMonitoringPrecision: number }): void;
}
