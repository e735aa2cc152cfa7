import { Counter, Gauge, type Registry } from 'prom-client';

import type { ConditionStatus } from '#domain/node-readiness.ts';

import type { NodeWrite } from '../ports.ts';

export interface ReadinessMetrics {
  /** So many nodes have this status. */
  nodes(status: ConditionStatus | 'none', count: number): void;
  wrote(what: 'condition' | 'taint', outcome: NodeWrite): void;
}

export function createReadinessMetrics(registry: Registry): ReadinessMetrics {
  const registers = [registry];
  const nodes = new Gauge({
    name: 'kiam_server_nodes',
    help: 'Nodes by the status of their condition PodCredentialsReady; none: without it.',
    labelNames: ['status'],
    registers,
  });
  const writes = new Counter({
    name: 'kiam_server_node_writes_total',
    help: 'Patches of Nodes: the condition, or the start-up taint, by outcome: done, conflict (tried again), failed.',
    labelNames: ['what', 'outcome'],
    registers,
  });
  for (const what of ['condition', 'taint']) writes.inc({ what, outcome: 'failed' }, 0);
  return {
    nodes: (status, count) => nodes.set({ status }, count),
    wrote: (what, outcome) => writes.inc({ what, outcome }),
  };
}
