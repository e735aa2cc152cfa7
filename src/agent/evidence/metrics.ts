import type { Registry } from 'prom-client';

import { createHotCounter } from '#telemetry/hot-metrics.ts';
import type { Logger } from '#telemetry/logger.ts';
import { oncePerChange } from '#telemetry/once.ts';

import type { ReadEvidence } from './evidence.ts';

/** Counts what a reader finds, and says once that the datapath shows nothing. */
export function countedEvidence(read: ReadEvidence, registry: Registry, logger: Logger): ReadEvidence {
  const lookups = createHotCounter({
    name: 'kiam_agent_evidence_lookups_total',
    help: "Connections by whether the node's kernel shows whose they are.",
    labelNames: ['found'],
    registry,
  });
  const [found, missing] = [lookups.series({ found: 'true' }), lookups.series({ found: 'false' })];
  const isNews = oncePerChange();
  return (address) => {
    const evidence = read(address);
    if (evidence.kind === 'interface') {
      found.inc();
      return evidence;
    }
    missing.inc();
    if (isNews('nothing is shown')) {
      logger.warn('the kernel does not show which pod has an address: the API server is asked for every connection', {
        'pod.ip': address,
        reason: evidence.reason,
      });
    }
    return evidence;
  };
}
