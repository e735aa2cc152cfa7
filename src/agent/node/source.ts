import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import type { AddressTie, Holder } from '#rpc/contract.ts';
import type { Gateway } from '#rpc/gateway.ts';
import type { Clock } from '#runtime/clock.ts';

import type { AuditLog, Served } from '../audit-log.ts';
import type { Client, CredentialSource, PodRole } from '../ports.ts';
import { Denials } from './denials.ts';
import type { NodeMetrics } from './metrics.ts';
import { createQuestions } from './questions.ts';
import { isRoleOf, livesLongEnough, type NodeStore, type StoredPod } from './store.ts';
import type { NodeStream } from './stream.ts';
import type { Trust } from './trust.ts';

export interface NodeSourceOptions {
  readonly gateway: Gateway;
  readonly trust: Trust;
  readonly store: Pick<NodeStore, 'find' | 'credentialsOf' | 'asOfMs'>;
  /** Whether the store is kept at all: without it no pod is ever known. */
  readonly isStoreKept: boolean;
  readonly stream: Pick<NodeStream, 'isLive' | 'isHeard' | 'silenceMs'>;
  readonly clock: Clock;
  /** `--serve-stale`: how long the store is answered from in full after its stream was lost; 0 is not at all. */
  readonly serveStaleMs: number;
  /** Told of every serving of credentials. */
  readonly audit?: AuditLog | undefined;
  readonly metrics: NodeMetrics;
}

const OTHER_POD = failed('forbidden', 'the connection is another pod’s');

/**
 * Answers from the node's memory where that may be trusted, and asks a server otherwise: for a role that is not the pod's own,
 * and once for each refusal, so that the server can record an Event.
 */
export function createNodeSource(options: NodeSourceOptions): CredentialSource {
  const { trust, store, stream, clock, serveStaleMs, audit, metrics } = options;
  const questions = createQuestions(options);
  /** For which pod a server gave credentials. */
  const holders = new WeakMap<MetadataCredentials, Holder>();

  /**
   * Whether the store may be used. With the stream lost, pods whose address the kernel ties to them are still served, the
   * others for a while.
   */
  const isCurrentFor = (check: AddressTie): boolean =>
    stream.isLive || (serveStaleMs > 0 && (check === 'kernel-bound' || stream.silenceMs() < serveStaleMs));

  /** The client's pod as the store has it, if that may be acted on now. */
  const trusted = (client: Client): StoredPod | undefined => {
    const pod = store.find(client.address);
    const check = pod === undefined ? undefined : trust.tiedBy(client, pod.uid);
    return check !== undefined && isCurrentFor(check) ? pod : undefined;
  };

  /** The same where no server can answer: then it is enough that the address was the pod's recently. */
  const recalled = (client: Client): StoredPod | undefined => {
    const pod = store.find(client.address);
    return pod !== undefined &&
      trust.answersWhenUnreachable(client, pod.uid, store.asOfMs) &&
      isCurrentFor('read-unless-recent')
      ? pod
      : undefined;
  };

  /** The server's answer; where none can answer, what was known about the pod recently. */
  const answer = <T>(outcome: Outcome<T>, known: () => T | undefined): Outcome<T> => {
    const value = !outcome.ok && questions.isNobodyThere(outcome.failure) ? known() : undefined;
    (value === undefined ? metrics.fromServer : metrics.fromMemory).inc();
    return value === undefined ? outcome : succeeded(value);
  };

  /** The client's pod as the store has it, if a server's answer agrees about the pod and about what it may have. */
  const podOf = ({ address }: Client, { uid, roleArn }: Holder): StoredPod | undefined => {
    const pod = store.find(address);
    return pod?.uid === uid && pod.roleArn === roleArn ? pod : undefined;
  };

  const credentialsFor = (pod: StoredPod | undefined, role: string): MetadataCredentials | undefined => {
    if (pod === undefined || !isRoleOf(pod, role)) return undefined;
    const credentials = store.credentialsOf(pod);
    return credentials !== undefined && livesLongEnough(credentials, clock) ? credentials.value : undefined;
  };

  const denials = new Denials(clock);

  /** A refusal that stands, while the stream would tell if it did not. */
  const denied = (client: Client, role: string): Outcome<never> | undefined => {
    const pod = stream.isHeard ? store.find(client.address) : undefined;
    const failure = pod === undefined ? undefined : denials.find(client, pod, role);
    if (failure === undefined) return undefined;
    metrics.fromMemory.inc();
    return { ok: false, failure };
  };

  /** Whom these credentials were just served to: the pod as the store has it, or as the server described it. */
  const servedTo = ({ address }: Client, credentials: MetadataCredentials): Served => {
    const pod = store.find(address);
    const holder = holders.get(credentials);
    if (pod !== undefined && (holder === undefined || holder.uid === pod.uid)) return pod;
    return { ...UNKNOWN, uid: holder?.uid ?? '', roleArn: holder?.roleArn ?? '' };
  };

  const podCredentials = async (
    client: Client,
    role: string,
    signal: AbortSignal,
    uid: string | undefined,
  ): Promise<Outcome<MetadataCredentials>> => {
    const isOther = (pod: string | undefined): boolean => uid !== undefined && pod !== uid;
    const known = (): MetadataCredentials | undefined => {
      const pod = recalled(client);
      return isOther(pod?.uid) ? undefined : credentialsFor(pod, role);
    };
    // With credentials in memory only the owner of the address is in doubt, which a server can answer also while STS is slow or
    // away.
    if (credentialsFor(store.find(client.address), role) !== undefined) {
      const holder = await questions.role(client, { signal, hasFallback: known() !== undefined });
      if (!holder.ok) return answer(holder, known);
      if (isOther(holder.value.uid)) return OTHER_POD;
      const own = credentialsFor(podOf(client, holder.value), role);
      if (own !== undefined) return answer(succeeded(own), known);
    }
    const denial = denied(client, role);
    if (denial !== undefined) return denial;
    const pod = store.find(client.address);
    const outcome = await questions.credentials(client, role, { signal, hasFallback: known() !== undefined });
    if (outcome.ok && isOther(outcome.value.uid)) return OTHER_POD;
    if (outcome.ok) {
      holders.set(outcome.value.credentials, outcome.value);
      return answer(succeeded(outcome.value.credentials), known);
    }
    // Only of a pod that is as it was when the server was asked, and whose stream would tell of a change.
    if (pod !== undefined && pod === store.find(client.address) && stream.isHeard) {
      denials.remember(client, pod, role, outcome.failure);
    }
    return answer(outcome, known);
  };

  return {
    knownRole: (client) => {
      const pod = trusted(client);
      if (pod !== undefined) metrics.fromMemory.inc();
      return pod;
    },
    knownCredentials: (client, role) => {
      const pod = trusted(client);
      const known = credentialsFor(pod, role);
      if (known === undefined || pod === undefined) return undefined;
      metrics.fromMemory.inc();
      audit?.(pod, known);
      return known;
    },
    roleArnOf: ({ address }, credentials) => {
      const pod = store.find(address);
      if (pod !== undefined && store.credentialsOf(pod)?.value === credentials) return pod.roleArn;
      return holders.get(credentials)?.roleArn ?? '';
    },
    namespaceOf: (address) => store.find(address)?.namespace ?? '',
    knowsPods: options.isStoreKept,
    knownUid: (address) => store.find(address)?.uid,
    podRole: async (client, signal) => {
      const known = (): PodRole | undefined => recalled(client);
      return answer(await questions.role(client, { signal, hasFallback: known() !== undefined }), known);
    },
    podCredentials: async (client, role, signal, uid) => {
      const outcome = await podCredentials(client, role, signal, uid);
      if (outcome.ok) audit?.(servedTo(client, outcome.value), outcome.value);
      return outcome;
    },
    serverHealth: () => options.gateway.serverHealth(),
  };
}

const UNKNOWN = { name: '', namespace: '', serviceAccount: '', nodeName: '', sessionName: '' };
