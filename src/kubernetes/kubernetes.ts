import type { PodRecord, PodReading } from '#domain/pod.ts';
import {
  bindPod,
  roleOfAccount,
  tagsDiffer,
  type Binding,
  type ServiceAccountRecord,
} from '#domain/service-account.ts';
import { sleep, type Clock } from '#runtime/clock.ts';
import { namespaceFields, podFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';
import { logChanges } from './change-log.ts';
import type { KubernetesConnection } from './connection.ts';
import { createPodEvents, type PodEvents } from './events.ts';
import { ListWatch, type ViewStatus } from './list-watch.ts';
import type { KubernetesMetrics } from './metrics.ts';
import { NamedCache } from './named-cache.ts';
import { NamespaceCache } from './namespace-cache.ts';
import { parseNamespaceObject, type StoredNamespace } from './namespace-record.ts';
import { PodCache } from './pod-cache.ts';
import { createPodParser, type PodKeys } from './pod-record.ts';
import { createServiceAccountParser, serviceAccountsDiffer } from './service-account-record.ts';
import { createPodReader } from './pod-reader.ts';

export interface KubernetesOptions {
  readonly connection: KubernetesConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: KubernetesMetrics;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** How often subscribers of the resync are called (`--sync`), in milliseconds. */
  readonly syncMs: number;
  /** `--binding`: where the roles of pods come from. With `pod` no ServiceAccount is read. */
  readonly binding: Binding;
  /** The keys of session tags that pods and ServiceAccounts may set; none unless given. */
  readonly allowedTags?: readonly string[];
  /** Reads this node's pods only; `''`, the default, reads those of all nodes. */
  readonly nodeName?: string;
  /** Which annotations of pods count; Kiam's unless given. */
  readonly podKeys?: PodKeys;
  /** Reads namespaces otherwise than by Kiam's annotation. */
  readonly parseNamespace?: ((value: unknown) => StoredNamespace | undefined) | undefined;
}

export interface Kubernetes {
  /** Each with the role that it has by its annotations or its ServiceAccount. */
  readonly pods: PodCache;
  readonly namespaces: NamespaceCache;
  readonly events: PodEvents;
  /**
   * Resolves when pods, namespaces and, where they count, ServiceAccounts are completely known, or when the signal has aborted,
   * which the caller checks. Never rejects: it waits for an API server that cannot be reached.
   */
  readonly ready: Promise<void>;
  /** Resolves when everything has ended, after the signal. */
  readonly ended: Promise<void>;
  /** `serviceAccounts` is undefined where they are not read, and while they are forbidden and can be done without. */
  status(): {
    readonly pods: ViewStatus;
    readonly namespaces: ViewStatus;
    readonly serviceAccounts: ViewStatus | undefined;
  };
  /** Asks the API server itself for a pod by name, not the cache. */
  readPod(namespace: string, name: string, signal: AbortSignal): Promise<PodReading>;
  /**
   * Calls `listener` every `syncMs`. Kiam's `--sync` is the resync of its informer, which hands everything in its cache to its
   * handlers once more without asking the API server; here the listener iterates `pods.pods()` itself.
   */
  subscribeResync(listener: () => void): () => void;
}

/** Begins to list and watch pods, namespaces and ServiceAccounts, and to send Events. Returns at once. */
export function startKubernetes(options: KubernetesOptions): Kubernetes {
  const { connection, clock, logger, metrics, signal, syncMs, binding, allowedTags = [], nodeName = '' } = options;
  const rules = { binding, allowedTags };
  const accounts = new NamedCache({ logger, resource: 'serviceaccounts', differ: serviceAccountsDiffer });
  const pods = new PodCache({
    logger,
    // Without ServiceAccounts a pod's role is that of its annotation.
    bind: (pod) => (binding === 'pod' ? pod : bindPod(pod, accounts.get(pod.namespace, pod.serviceAccount), rules)),
  });
  const namespaces = new NamespaceCache({ logger });
  logChanges(pods, { logger, kind: 'pod', fields: podFields });
  logChanges(namespaces, { logger, kind: 'namespace', fields: namespaceFields });
  const parsePod = createPodParser(allowedTags, options.podKeys);
  const podWatch = new ListWatch<PodRecord>({
    ...options,
    target: pods,
    resource: {
      name: 'pods',
      path: '/api/v1/pods',
      query: nodeName === '' ? undefined : { fieldSelector: `spec.nodeName=${nodeName}` },
      parse: parsePod,
    },
  });
  const namespaceWatch = new ListWatch({
    ...options,
    target: namespaces.target,
    resource: {
      name: 'namespaces',
      path: '/api/v1/namespaces',
      parse: options.parseNamespace ?? ((value) => parseNamespaceObject(value)),
    },
  });
  const accountWatch = binding === 'pod' ? undefined : watchAccounts(options, accounts, pods, allowedTags);
  // Without them a pod could say what its ServiceAccount is meant to say.
  const canDoWithoutAccounts = (): boolean =>
    binding === 'both' && allowedTags.length === 0 && accountWatch?.status().isForbidden === true;
  metrics.showAmbiguousAddresses(() => pods.ambiguousAddresses);
  const events = createPodEvents(options);
  const ended = Promise.all([podWatch.run(), namespaceWatch.run(), accountWatch?.run(), events.run()]).then(() => {});
  signal.addEventListener('abort', () => connection.close(), { once: true });
  const synced = Promise.all([
    podWatch.synced,
    namespaceWatch.synced,
    accountWatch && Promise.race([accountWatch.synced, untilGivenUp(canDoWithoutAccounts, clock, signal)]),
  ]).then(() => {});
  return {
    pods,
    namespaces,
    events,
    ready: Promise.race([synced, ended]),
    ended,
    status: () => ({
      pods: podWatch.status(),
      namespaces: namespaceWatch.status(),
      serviceAccounts: canDoWithoutAccounts() ? undefined : accountWatch?.status(),
    }),
    readPod: createPodReader({ connection, parse: parsePod }),
    subscribeResync: createResync({ clock, signal, syncMs }),
  };
}

/** A change of a ServiceAccount is a change of the pods that run as it. */
function watchAccounts(
  options: KubernetesOptions,
  accounts: NamedCache<ServiceAccountRecord>,
  pods: PodCache,
  allowedTags: readonly string[],
): ListWatch<ServiceAccountRecord> {
  accounts.subscribe(({ previous, current }) => {
    const account = current ?? previous;
    const setsTags = allowedTags.length > 0 && tagsDiffer(previous?.sessionTags, current?.sessionTags);
    const isSame = roleOf(previous) === roleOf(current) && previous?.uid === current?.uid && !setsTags;
    if (account === undefined || isSame) return;
    void pods.rebind(account.namespace, account.name);
  });
  return new ListWatch<ServiceAccountRecord>({
    ...options,
    target: accounts.target,
    resource: {
      name: 'serviceaccounts',
      path: '/api/v1/serviceaccounts',
      parse: createServiceAccountParser(allowedTags),
    },
  });
}

function roleOf(account: ServiceAccountRecord | undefined): string {
  return account === undefined ? '' : roleOfAccount(account);
}

/** An API server that has just started answers 403 for some seconds, until it has read the RBAC rules. */
const FORBIDDEN_FOR_GOOD_MS = 10_000;
const LOOK_EVERY_MS = 500;

/**
 * Resolves when ServiceAccounts have been forbidden for so long that they will stay so: the RBAC rules may be those of Kiam, or
 * of a version that did not read them. Pods' own annotations still count then. Resolves at `signal` as well.
 */
async function untilGivenUp(isForbidden: () => boolean, clock: Clock, signal: AbortSignal): Promise<void> {
  let forbiddenForMs = 0;
  while (!signal.aborted && forbiddenForMs < FORBIDDEN_FOR_GOOD_MS) {
    await sleep(clock, LOOK_EVERY_MS, signal);
    forbiddenForMs = isForbidden() ? forbiddenForMs + LOOK_EVERY_MS : 0;
  }
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
