import type { PodRecord } from '#domain/pod.ts';
import type { KubernetesConnection } from '#kubernetes/connection.ts';
import type { KubernetesMetrics } from '#kubernetes/metrics.ts';
import { followNodes } from '#kubernetes/nodes.ts';
import type { FailedHandshakes } from '#server/failed-handshakes.ts';
import type { NodeIndex } from '#server/node-index.ts';
import type { NodeReports } from '#server/node-reports.ts';
import type { PodView } from '#server/ports.ts';
import { createReadinessMetrics } from '#server/readiness/metrics.ts';
import { NodeReadiness } from '#server/readiness/node-readiness.ts';
import type { Registry } from 'prom-client';

import type { Daemon } from './daemon.ts';
import type { ServerFlags } from './flags/server.ts';

interface Parts {
  readonly connection: KubernetesConnection;
  readonly kubernetesMetrics: KubernetesMetrics;
  readonly registry: Registry;
  readonly index: NodeIndex;
  readonly pods: PodView;
  readonly reports: NodeReports;
  readonly failedHandshakes: FailedHandshakes;
}

/** `--node-readiness`: starts keeping the condition of the Nodes up to date. */
export function startNodeReadiness(
  { nodeReadiness: mode, agentServiceAccount }: Pick<ServerFlags, 'nodeReadiness' | 'agentServiceAccount'>,
  { clock, logger, shutdown }: Daemon,
  { connection, kubernetesMetrics, registry, index, pods, reports, failedHandshakes }: Parts,
): void {
  if (mode === 'off') return;
  const isAgent = (pod: PodRecord): boolean =>
    !pod.mirror && `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}` === agentServiceAccount;
  const readiness = new NodeReadiness({
    nodes: followNodes({ connection, clock, logger, metrics: kubernetesMetrics, signal: shutdown.signal }),
    reports,
    agentsOn: (name) =>
      [...index.podsOn({ by: 'name', name })].flatMap((uid) => pods.byUid(uid) ?? []).filter((pod) => isAgent(pod)),
    failsToConnect: (addresses) => failedHandshakes.areFrom(addresses),
    mode,
    clock,
    logger,
    metrics: createReadinessMetrics(registry),
  });
  void readiness.run(shutdown.signal);
}
