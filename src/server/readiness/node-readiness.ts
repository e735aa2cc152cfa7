import { nodeKeysOf } from '#domain/node.ts';
import type { NodeCondition, NodeRecord } from '#domain/node-readiness.ts';
import type { PodRecord } from '#domain/pod.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { NodeReports } from '../node-reports.ts';
import type { ClusterNodes, NodeWrite } from '../ports.ts';
import { nextCondition, type NextCondition } from './next-condition.ts';
import type { ReadinessMetrics } from './metrics.ts';
import { explainSilence } from './silence.ts';

export interface NodeReadinessOptions {
  readonly nodes: ClusterNodes;
  readonly reports: Pick<NodeReports, 'of' | 'subscribe'>;
  /** The agents' pods on a node, by its name. */
  readonly agentsOn: (nodeName: string) => readonly PodRecord[];
  /** Whether TLS handshakes from an address of the node have failed recently. */
  readonly failsToConnect: (addresses: readonly string[]) => boolean;
  /** With `taint` the start-up taint is taken off as well. */
  readonly mode: 'condition' | 'taint';
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ReadinessMetrics;
}

/** What this replica remembers of a Node, by its UID. Times are monotonic milliseconds. */
interface Memory {
  /** The heartbeat that was seen last, and since when. */
  heartbeat: string;
  seenMs: number;
  /** The heartbeat that this replica wrote last. */
  written: string;
  isClaimed: boolean;
  silentSinceMs: number;
}

const LOOK_EVERY_MS = 1000;
/** What happens at once to many nodes is looked at once. */
const SHORTEST_PAUSE_MS = 50;
const WRITES_AT_ONCE = 8;

/**
 * Keeps the condition of each Node as its agent reports it, and takes the start-up taint off nodes that are ready, again
 * whenever it comes back. It puts no taint on.
 */
export class NodeReadiness {
  readonly #options: NodeReadinessOptions;
  readonly #memory = new Map<string, Memory>();
  #wake = new AbortController();

  constructor(options: NodeReadinessOptions) {
    this.#options = options;
  }

  /** Until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { nodes, reports, clock } = this.#options;
    const backoff = createBackoff({ firstMs: 1000, capMs: 30_000 });
    const wakeUp = (): void => this.#wake.abort();
    const unsubscribe = [nodes.subscribe(wakeUp), reports.subscribe(wakeUp)];
    signal.addEventListener('abort', wakeUp, { once: true });
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const writes = nodes.isSynced ? await this.#lookAtAll() : [];
      if (signal.aborted) break;
      const hasFailed = writes.includes('failed');
      if (!hasFailed) backoff.reset();
      await sleep(clock, hasFailed ? backoff.nextMs() : SHORTEST_PAUSE_MS, signal);
      await sleep(clock, LOOK_EVERY_MS, this.#wake.signal);
    }
    for (const end of unsubscribe) end();
  }

  async #lookAtAll(): Promise<readonly NodeWrite[]> {
    const { nodes } = this.#options;
    const all = [...nodes.all()];
    this.#forgetAllBut(new Set(all.map(({ uid }) => uid)));
    const slots = createSlots(WRITES_AT_ONCE);
    const writes = await Promise.all(all.map((node) => this.#look(node, (write) => slots.run(write))));
    const statuses = [...nodes.all()].map(({ condition }) => condition?.status ?? 'none');
    for (const status of ['True', 'False', 'Unknown', 'none'] as const) {
      this.#options.metrics.nodes(status, statuses.filter((one) => one === status).length);
    }
    return writes.flat();
  }

  async #look(
    node: NodeRecord,
    inTurn: (write: () => Promise<NodeWrite>) => Promise<NodeWrite>,
  ): Promise<readonly NodeWrite[]> {
    const { reports, clock, metrics, mode, nodes, agentsOn, failsToConnect } = this.#options;
    const nowMs = clock.monotonic();
    const { condition } = node;
    const memory = this.#memoryOf(node, nowMs);
    const said = reports.of(nodeKeysOf({ nodeName: node.name, hostIps: node.addresses }));
    if (said.length > 0) memory.silentSinceMs = nowMs;
    else memory.isClaimed = false;
    const agents = agentsOn(node.name);
    const isOurs = condition !== undefined && memory.written === condition.lastHeartbeatTime;
    const next = nextCondition({
      condition,
      isOurs,
      seenForMs: nowMs - memory.seenMs,
      reports: said,
      isClaimed: memory.isClaimed,
      silentForMs: nowMs - memory.silentSinceMs,
      isExpected: agents.length > 0 || node.taintIndex >= 0,
      silence: explainSilence(agents, failsToConnect(node.addresses)),
    });
    const isReady = said.some(({ ready }) => ready);
    if (next !== undefined) {
      const written = await this.#write(node, next, memory, isOurs, inTurn);
      if (written === undefined) return [];
      if (written !== 'done') return [written];
    }
    if (mode !== 'taint' || !isReady || node.taintIndex < 0) return [];
    const current = nodes.get(node.name);
    if (current?.condition?.status !== 'True' || current.taintIndex < 0) return [];
    const removed = await inTurn(() => nodes.removeTaint(current));
    metrics.wrote('taint', removed);
    if (removed === 'done') this.#options.logger.info('the start-up taint was taken off a node', { node: node.name });
    return [removed];
  }

  async #write(
    node: NodeRecord,
    next: NextCondition,
    memory: Memory,
    isOurs: boolean,
    inTurn: (write: () => Promise<NodeWrite>) => Promise<NodeWrite>,
  ): Promise<NodeWrite | undefined> {
    const { clock, logger, metrics, nodes } = this.#options;
    const now = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
    const { condition } = node;
    // The heartbeat says who wrote last: another's of the same second would be taken for this replica's own.
    if (!isOurs && condition?.lastHeartbeatTime === now) return undefined;
    const isSame = condition?.status === next.status;
    const whole: NodeCondition = {
      ...next,
      lastHeartbeatTime: now,
      lastTransitionTime: isSame ? condition.lastTransitionTime : now,
    };
    const written = await inTurn(() => nodes.setCondition(node, whole));
    metrics.wrote('condition', written);
    if (written !== 'done') return written;
    memory.written = now;
    memory.isClaimed = true;
    const fields = { node: node.name, 'node.status': next.status, 'node.reason': next.reason };
    if (!isSame) logger.info('the condition of a node has changed', { ...fields, 'node.message': next.message });
    return written;
  }

  #memoryOf({ uid, condition }: NodeRecord, nowMs: number): Memory {
    const heartbeat = condition?.lastHeartbeatTime ?? '';
    const known = this.#memory.get(uid);
    if (known === undefined) {
      const memory = { heartbeat, seenMs: nowMs, written: 'nothing', isClaimed: false, silentSinceMs: nowMs };
      this.#memory.set(uid, memory);
      return memory;
    }
    if (known.heartbeat !== heartbeat) Object.assign(known, { heartbeat, seenMs: nowMs });
    return known;
  }

  #forgetAllBut(uids: ReadonlySet<string>): void {
    for (const uid of this.#memory.keys()) if (!uids.has(uid)) this.#memory.delete(uid);
  }
}
