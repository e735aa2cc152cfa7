import type { PodRecord, PodReading } from '#domain/pod.ts';
import type { Clock } from '#runtime/clock.ts';
import { namespaceFields, podFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';
import { logChanges } from './change-log.ts';
import type { KubernetesConnection } from './connection.ts';
import { createPodEvents, type PodEvents } from './events.ts';
import { ListWatch, type ViewStatus } from './list-watch.ts';
import type { KubernetesMetrics } from './metrics.ts';
import { NamespaceCache } from './namespace-cache.ts';
import { parseNamespaceObject } from './namespace-record.ts';
import { PodCache } from './pod-cache.ts';
import { createPodParser } from './pod-record.ts';
import { createPodReader } from './pod-reader.ts';

export interface KubernetesOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: KubernetesMetrics;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** How often those who subscribe to it are told to look at everything again (`--sync`), in milliseconds. */
  readonly syncMs: number;
}

export interface Kubernetes {
  readonly pods: PodCache;
  readonly namespaces: NamespaceCache;
  readonly events: PodEvents;
  /**
   * Resolves when both caches hold a complete list, or when everything has ended: look at the signal. Never rejects: an API
   * server that is away is waited for.
   */
  readonly ready: Promise<void>;
  /** Resolves when everything has ended, after the signal. */
  readonly ended: Promise<void>;
  status(): { readonly pods: ViewStatus; readonly namespaces: ViewStatus };
  /** Asks the API server itself for a pod by name, not the cache. */
  readPod(namespace: string, name: string, signal: AbortSignal): Promise<PodReading>;
  /**
   * Calls `listener` every `syncMs`. Kiam's `--sync` is the resync of its informer, which hands everything in its cache to
   * its handlers once more without asking the API server; here the listener walks `pods.pods()` as far as it wants to.
   */
  subscribeResync(listener: () => void): () => void;
}

/** Begins to list and watch pods and namespaces, and to send Events. Returns at once. */
export function startKubernetes(options: KubernetesOptions): Kubernetes {
  const { connection, clock, logger, metrics, signal, syncMs } = options;
  const pods = new PodCache({ logger });
  const namespaces = new NamespaceCache({ logger });
  logChanges(pods, { logger, kind: 'pod', fields: podFields });
  logChanges(namespaces, { logger, kind: 'namespace', fields: namespaceFields });
  const parsePod = createPodParser();
  const podWatch = new ListWatch<PodRecord>({
    ...options,
    target: pods,
    resource: { name: 'pods', path: '/api/v1/pods', parse: parsePod },
  });
  const namespaceWatch = new ListWatch({
    ...options,
    target: namespaces.target,
    resource: { name: 'namespaces', path: '/api/v1/namespaces', parse: parseNamespaceObject },
  });
  metrics.showAmbiguousAddresses(() => pods.ambiguousAddresses);
  const events = createPodEvents(options);
  const ended = Promise.all([podWatch.run(), namespaceWatch.run(), events.run()]).then(() => {});
  signal.addEventListener('abort', () => connection.close(), { once: true });
  return {
    pods,
    namespaces,
    events,
    ready: Promise.race([bothSynced(podWatch, namespaceWatch), ended]),
    ended,
    status: () => ({ pods: podWatch.status(), namespaces: namespaceWatch.status() }),
    readPod: createPodReader({ connection, parse: parsePod }),
    subscribeResync: createResync({ clock, signal, syncMs }),
  };
}

async function bothSynced(pods: ListWatch<PodRecord>, namespaces: { readonly synced: Promise<void> }): Promise<void> {
  await pods.synced;
  await namespaces.synced;
}

function createResync(options: {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly syncMs: number;
}): (listener: () => void) => () => void {
  const { clock, signal, syncMs } = options;
  return (listener) => {
    const next = (): void => {
      cancel = clock.after(syncMs, () => {
        next();
        listener();
      });
    };
    let cancel = (): void => {};
    const stop = (): void => {
      signal.removeEventListener('abort', stop);
      cancel();
    };
    if (signal.aborted || syncMs <= 0) return stop;
    signal.addEventListener('abort', stop, { once: true });
    next();
    return stop;
  };
}
