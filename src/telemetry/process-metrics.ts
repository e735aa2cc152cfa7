import type { Registry } from 'prom-client';
import eventLoopLag from 'prom-client/lib/metrics/eventLoopLag.js';
import heapSizeAndUsed from 'prom-client/lib/metrics/heapSizeAndUsed.js';
import heapSpacesSizeAndUsed from 'prom-client/lib/metrics/heapSpacesSizeAndUsed.js';
import osMemoryHeap from 'prom-client/lib/metrics/osMemoryHeap.js';
import processCpuTotal from 'prom-client/lib/metrics/processCpuTotal.js';
import processHandles from 'prom-client/lib/metrics/processHandles.js';
import processMaxFileDescriptors from 'prom-client/lib/metrics/processMaxFileDescriptors.js';
import processOpenFileDescriptors from 'prom-client/lib/metrics/processOpenFileDescriptors.js';
import processRequests from 'prom-client/lib/metrics/processRequests.js';
import processResources from 'prom-client/lib/metrics/processResources.js';
import processStartTime from 'prom-client/lib/metrics/processStartTime.js';
import version from 'prom-client/lib/metrics/version.js';

/**
 * Node's measure of the event loop's lag includes this interval, so that an idle process shows it as its lag. 10 ms is what
 * dashboards for prom-client expect; it costs a quarter of a percent of a core.
 */
const EVENT_LOOP_PRECISION_MS = 10;

/**
 * What prom-client's `collectDefaultMetrics` makes, each by itself, but for `nodejs_gc_duration_seconds`: its observer is
 * called after every collection of the young generation, which costs a warm request of the agent a twentieth of its time.
 */
const ALL = [
  processCpuTotal,
  processStartTime,
  osMemoryHeap,
  processOpenFileDescriptors,
  processMaxFileDescriptors,
  eventLoopLag,
  processResources,
  processHandles,
  processRequests,
  heapSizeAndUsed,
  heapSpacesSizeAndUsed,
  version,
];

/** Registers the metrics of the Node process itself: `process_*` and `nodejs_*`. */
export function registerProcessMetrics(registry: Registry): void {
  for (const register of ALL) register(registry, { eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
}
