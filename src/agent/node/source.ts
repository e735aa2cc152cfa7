import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Failure, type Outcome, succeeded } from '#domain/failure.ts';
import type { Confirm, Holder } from '#rpc/contract.ts';
import type { Gateway } from '#rpc/gateway.ts';
import type { Clock } from '#runtime/clock.ts';

import type { Client, CredentialSource, PodRole } from '../ports.ts';
import { createJoined, type Joined } from './joined.ts';
import type { NodeMetrics } from './metrics.ts';
import type { NodeStore, StoredCredentials, StoredPod } from './store.ts';
import type { NodeStream } from './stream.ts';
import type { Trust } from './trust.ts';

export interface NodeSourceOptions {
  readonly gateway: Gateway;
  readonly trust: Trust;
  readonly store: Pick<NodeStore, 'find' | 'credentialsOf'>;
  /** Whether the store is kept at all: without it no pod is ever known. */
  readonly isStoreKept: boolean;
  readonly stream: Pick<NodeStream, 'isLive' | 'silenceMs'>;
  readonly clock: Clock;
  /** `--serve-stale`: how long the store is answered from in full after its stream was lost; 0 is not at all. */
  readonly serveStaleMs: number;
  readonly metrics: NodeMetrics;
}

/** Nothing with less life than this is served (SPEC 8.6). */
const SHORTEST_LIFE_MS = 60_000;

const CHANGED_HANDS = failed('pod-not-found', 'no pod found');

/**
 * Answers from the node's memory where that may be trusted, and asks a server otherwise. What is never answered from memory:
 * a refusal, which the server tells the pod's Event as well, and a role that is not the pod's own.
 */
export function createNodeSource(options: NodeSourceOptions): CredentialSource {
  const { gateway, trust, store, stream, clock, serveStaleMs, metrics } = options;

  /** The client's pod as the store has it, if that may be acted on now. */
  const trusted = (client: Client): StoredPod | undefined => {
    const pod = store.find(client.address);
    if (pod === undefined) return undefined;
    const held = trust.holds(client, pod.uid);
    if (held === undefined) return undefined;
    if (stream.isLive) return pod;
    if (serveStaleMs === 0) return undefined;
    // A lost stream: who is held by the kernel is served on, the others for a while.
    return held === 'witnessed' || stream.silenceMs() < serveStaleMs ? pod : undefined;
  };

  /** Asks a server, as sure as need be, and sees to it that the client is still who it was. */
  const askServer = async <T extends Holder>(
    client: Client,
    question: (confirm: Confirm) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    const doubt = trust.doubt(client);
    const outcome = await question(doubt.confirm);
    if (!outcome.ok) return outcome;
    return trust.establish(client, outcome.value, doubt) ? outcome : CHANGED_HANDS;
  };

  /**
   * Asks, or joins who asks the same: the same question of the same client, which is the same address with the same evidence.
   * The time of a question that was joined may run out before one's own has: then it is asked again.
   */
  const ask = async <T extends Holder>(
    client: Client,
    joined: Joined<Outcome<T>>,
    { what, signal }: { readonly what: string; readonly signal: AbortSignal },
    question: (confirm: Confirm) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    metrics.fromServer.inc();
    const key = JSON.stringify([client.address, client.evidence, what]);
    for (;;) {
      const { isFirst, result } = joined(key, () => askServer(client, question));
      const outcome = await result;
      if (outcome.ok || isFirst || signal.aborted || !isPassing(outcome.failure)) return outcome;
    }
  };

  const roles = createJoined<Outcome<Holder & PodRole>>();
  const credentials = createJoined<Outcome<Holder & { readonly credentials: MetadataCredentials }>>();

  /** By both clocks: the wall clock may be set to anything, and the monotonic one does not see the machine asleep. */
  const lifeLeftMs = ({ expiresAtMs, deadAtMs }: StoredCredentials): number =>
    Math.min(expiresAtMs - clock.now(), deadAtMs - clock.monotonic());

  return {
    knownRole: (client) => {
      const pod = trusted(client);
      if (pod !== undefined) metrics.fromMemory.inc();
      return pod;
    },
    knownCredentials: (client, role) => {
      const pod = trusted(client);
      if (pod === undefined || !isItsRole(pod, role)) return undefined;
      const credentials = store.credentialsOf(pod);
      if (credentials === undefined || lifeLeftMs(credentials) < SHORTEST_LIFE_MS) return undefined;
      metrics.fromMemory.inc();
      return credentials.value;
    },
    ...(options.isStoreKept ? { knownUid: (address: string) => store.find(address)?.uid } : {}),
    podRole: (client, signal) =>
      ask(client, roles, { what: '', signal }, (confirm) => gateway.podRole(client.address, confirm)),
    podCredentials: async (client, role, signal): Promise<Outcome<MetadataCredentials>> => {
      const answer = await ask(client, credentials, { what: role, signal }, (confirm) =>
        gateway.podCredentials(client.address, role, confirm),
      );
      return answer.ok ? succeeded(answer.value.credentials) : answer;
    },
    serverHealth: () => gateway.serverHealth(),
  };
}

/** Whether a question that failed so may be answered soon. */
function isPassing({ kind }: Failure): boolean {
  return kind === 'pod-not-found' || kind === 'server-unavailable' || kind === 'view-stale';
}

/** The ways in which a pod may spell its own role; with any other the server decides. */
function isItsRole(pod: StoredPod, role: string): boolean {
  return pod.role !== '' && (role === pod.role || `/${role}` === pod.role || role === pod.roleArn);
}
