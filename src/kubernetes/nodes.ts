import { CONDITION_TYPE, type NodeCondition, type NodeRecord, STARTUP_TAINT } from '#domain/node-readiness.ts';
import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { KubernetesConnection } from './connection.ts';
import { parseJson } from './json-fields.ts';
import { apiFailureOf, type ApiFailure } from './list.ts';
import { ListWatch } from './list-watch.ts';
import type { KubernetesMetrics } from './metrics.ts';
import { NamedCache } from './named-cache.ts';
import { nodesDiffer, parseNodeObject, type StoredNode } from './node-record.ts';
import { createOutageLog } from './outage-log.ts';

export interface NodesOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: KubernetesMetrics;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

const ANSWER_WITHIN_MS = 5000;
/** A Node lists up to 50 images with their names. */
const LARGEST_NODE_BYTES = 8 * 1024 * 1024;

/** Begins to list and watch Nodes, of which two things may be written. Returns at once. */
export function followNodes({ connection, clock, logger, metrics, signal }: NodesOptions) {
  const cache = new NamedCache<StoredNode>({ logger, resource: 'nodes', differ: nodesDiffer });
  const { target } = cache;
  const watch = new ListWatch<StoredNode>({
    connection,
    clock,
    logger,
    metrics,
    signal,
    target,
    resource: { name: 'nodes', path: '/api/v1/nodes', parse: parseNodeObject },
  });
  void watch.run();
  const outage = createOutageLog({ logger, clock, resource: 'nodes' });

  const patch = async (path: string, contentType: string, body: unknown): Promise<'done' | 'conflict' | 'failed'> => {
    const failure = await attempt(async () => {
      const response = await connection.request({
        method: 'PATCH',
        path,
        contentType: `application/${contentType}`,
        body: JSON.stringify(body),
        headersWithinMs: ANSWER_WITHIN_MS,
        silenceLimitMs: ANSWER_WITHIN_MS,
        signal,
      });
      if (response.status !== 200) return apiFailureOf(response);
      // What was written is known at once, before the watch tells it.
      const node = parseNodeObject(parseJson(await response.text(LARGEST_NODE_BYTES)));
      if (node !== undefined) target.upsert(node);
      return undefined;
    });
    if (failure === undefined) {
      outage.succeeded();
      return 'done';
    }
    if ([404, 409, 422].includes(failure.status ?? 0)) return 'conflict';
    if (failure.status === 401) connection.renewCredentials();
    outage.failed('patch', failure);
    return 'failed';
  };

  return {
    all: (): Iterable<NodeRecord> => cache.all(),
    get: (name: string): NodeRecord | undefined => cache.get('', name),
    subscribe: (listener: () => void) => cache.subscribe(listener),
    get isSynced() {
      return watch.status().synced;
    },
    setCondition: ({ name, uid, resourceVersion }: NodeRecord, condition: NodeCondition) =>
      patch(`${pathOf(name)}/status`, 'strategic-merge-patch+json', {
        metadata: { uid, resourceVersion },
        status: { conditions: [{ type: CONDITION_TYPE, ...condition }] },
      }),
    // A patch of the whole list would put back what another has taken off meanwhile.
    removeTaint: ({ name, taintIndex }: NodeRecord) => {
      const path = `/spec/taints/${taintIndex}`;
      return patch(pathOf(name), 'json-patch+json', [
        { op: 'test', path: `${path}/key`, value: STARTUP_TAINT },
        { op: 'remove', path },
      ]);
    },
  };
}

async function attempt(task: () => Promise<ApiFailure | undefined>): Promise<ApiFailure | undefined> {
  try {
    return await task();
  } catch (error) {
    return { status: undefined, message: describeError(error), retryAfterMs: undefined };
  }
}

function pathOf(name: string): string {
  return `/api/v1/nodes/${encodeURIComponent(name)}`;
}
