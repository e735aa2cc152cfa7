import type { AuditLog } from '#agent/audit-log.ts';
import type { ReadEvidence } from '#agent/evidence/evidence.ts';
import { isElsewhere } from '#agent/evidence/interfaces.ts';
import { kernelFiles } from '#agent/evidence/kernel-files.ts';
import { createNodeMetrics } from '#agent/node/metrics.ts';
import { type Concern, NodeReporter } from '#agent/node/reporter.ts';
import { createNodeSource } from '#agent/node/source.ts';
import { NodeStore } from '#agent/node/store.ts';
import { NodeStream, type NodeStreamOptions } from '#agent/node/stream.ts';
import { Trust } from '#agent/node/trust.ts';
import type { CredentialSource } from '#agent/ports.ts';
import type { NodeDetails } from '#domain/node-details.ts';
import type { Gateway } from '#rpc/gateway.ts';
import type { Registry } from 'prom-client';

import type { Daemon } from './daemon.ts';

export interface NodeMemoryOptions {
  /** Makes the gateway; `isWatching` is whether the agent has a stream, or is about to. */
  readonly openGateway: (isWatching: () => boolean) => Gateway;
  readonly client: NodeStreamOptions['client'];
  readonly registry: Registry;
  readonly readEvidence: ReadEvidence;
  /** The node's address; `''` where it is not known. */
  readonly hostIp: string;
  /** `--node-store` */
  readonly isStoreKept: boolean;
  /** What may keep pods from their credentials: servers are told. */
  readonly concerns: () => readonly Concern[];
  /** What else servers are told of the agent; how many pods it holds is known here. */
  readonly details: () => Omit<NodeDetails, 'pods'>;
  /** `--audit-log`; undefined when it is off. */
  readonly audit?: AuditLog | undefined;
  /** `--serve-stale`, in milliseconds. */
  readonly serveStaleMs: number;
}

/** What this node's pods may have, and the stream that it is known from. */
export interface NodeParts {
  readonly source: CredentialSource;
  readonly store: NodeStore;
  readonly stream: NodeStream;
  readonly audit: AuditLog | undefined;
}

/** Starts following what this node's pods may have. Requests that it cannot answer are sent to a server. */
export function startNodeParts(options: NodeMemoryOptions, { clock, logger, shutdown }: Daemon): NodeParts {
  const { openGateway, client, registry, readEvidence, hostIp, isStoreKept, serveStaleMs, audit, concerns } = options;
  const details = (): NodeDetails => ({ ...options.details(), pods: store.size });
  const trust: Trust = new Trust({
    clock,
    logger,
    readEvidence,
    isElsewhere: (before, now) => isElsewhere(kernelFiles, before, now),
    maxAgeMs: () => store.maxViewAgeMs,
  });
  const store = new NodeStore((uid) => trust.forget(uid));
  const reporter = new NodeReporter({ concerns, details, clock });
  const stream = new NodeStream({ client, store, clock, logger, hostIp, reporter });
  if (isStoreKept) void stream.run(shutdown.signal);
  const source = createNodeSource({
    gateway: openGateway(() => isStoreKept && stream.isOffered),
    trust,
    store,
    isStoreKept,
    stream,
    clock,
    serveStaleMs,
    audit,
    metrics: createNodeMetrics(registry, { size: () => store.size, silenceMs: () => stream.silenceMs() }),
  });
  return { source, store, stream, audit };
}
