import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Failure, type Outcome, succeeded } from '#domain/failure.ts';
import type { Confirm, Holder } from '#rpc/contract.ts';
import { type Gateway, isOutOfReach, isWorthAnotherAttempt } from '#rpc/gateway.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSingleFlight, type SingleFlight } from '#runtime/single-flight.ts';

import type { Client, CredentialSource, PodRole } from '../ports.ts';
import type { NodeMetrics } from './metrics.ts';
import type { NodeStore, StoredCredentials, StoredPod } from './store.ts';
import type { NodeStream } from './stream.ts';
import type { Trust } from './trust.ts';

export interface NodeSourceOptions {
  readonly gateway: Gateway;
  readonly trust: Trust;
  readonly store: Pick<NodeStore, 'find' | 'credentialsOf' | 'asOfMs'>;
  /** Whether the store is kept at all: without it no pod is ever known. */
  readonly isStoreKept: boolean;
  readonly stream: Pick<NodeStream, 'isLive' | 'silenceMs'>;
  readonly clock: Clock;
  /** `--serve-stale`: how long the store is answered from in full after its stream was lost; 0 is not at all. */
  readonly serveStaleMs: number;
  readonly metrics: NodeMetrics;
}

/** Nothing with less life than this is served (docs/specification.md, 8.6). */
const SHORTEST_LIFE_MS = 60_000;

/** Where the memory would do, servers that are away are tried for so long: the most impatient SDK waits half a second. */
const GIVE_UP_AFTER_MS = 250;

const CHANGED_HANDS = failed('pod-not-found', 'no pod found');

/**
 * Answers from the node's memory where that may be trusted, and asks a server otherwise. What is never answered from memory:
 * a refusal, which the server tells the pod's Event as well, and a role that is not the pod's own.
 */
export function createNodeSource(options: NodeSourceOptions): CredentialSource {
  const { gateway, trust, store, stream, clock, serveStaleMs, metrics } = options;

  /** Whether the store may be acted on. With its stream lost, who is held by the kernel is served on, the others for a while. */
  const isCurrentFor = (held: 'witnessed' | 'recent'): boolean =>
    stream.isLive || (serveStaleMs > 0 && (held === 'witnessed' || stream.silenceMs() < serveStaleMs));

  /** The client's pod as the store has it, if that may be acted on now. */
  const trusted = (client: Client): StoredPod | undefined => {
    const pod = store.find(client.address);
    const held = pod === undefined ? undefined : trust.holds(client, pod.uid);
    return held !== undefined && isCurrentFor(held) ? pod : undefined;
  };

  /** The same where nobody can be asked: then it is enough that the address was the pod's lately. */
  const recalled = (client: Client): StoredPod | undefined => {
    const pod = store.find(client.address);
    return pod !== undefined && trust.recalls(client, pod.uid, store.asOfMs) && isCurrentFor('recent')
      ? pod
      : undefined;
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

  /** Whether nobody can be asked. A server that has not answered may just be slow: not if the stream is lost as well. */
  const isNobodyThere = (failure: Failure): boolean =>
    isOutOfReach(failure) || (failure.kind === 'timed-out' && !stream.isLive);

  /**
   * Asks, or joins who asks the same: the same question of the same client, which is the same address with the same evidence,
   * or the same connection where there is none. The time of a question that was joined may run out before one's own has: then
   * it is asked again, unless there is something to fall back on, which is `known`.
   */
  const ask = async <T extends Holder>(
    client: Client,
    flight: SingleFlight<Outcome<T>>,
    {
      what,
      known,
      signal,
    }: { readonly what: string; readonly known: object | undefined; readonly signal: AbortSignal },
    question: (confirm: Confirm, giveUpAfterMs: number | undefined) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    const giveUpAfterMs = known === undefined ? undefined : GIVE_UP_AFTER_MS;
    const { address, evidence, acceptedMs } = client;
    const key = JSON.stringify([address, evidence.kind === 'none' ? acceptedMs : evidence.key, what]);
    for (;;) {
      const { isFirst, result } = flight(key, () => askServer(client, (confirm) => question(confirm, giveUpAfterMs)));
      const outcome = await result;
      if (outcome.ok || isFirst || signal.aborted || !isWorthAnotherAttempt(outcome.failure)) return outcome;
      if (known !== undefined && isNobodyThere(outcome.failure)) return outcome;
    }
  };

  /** What a server says; where none can say, what is known of the pod lately. */
  const answer = <T>(outcome: Outcome<T>, known: () => T | undefined): Outcome<T> => {
    const value = !outcome.ok && isNobodyThere(outcome.failure) ? known() : undefined;
    (value === undefined ? metrics.fromServer : metrics.fromMemory).inc();
    return value === undefined ? outcome : succeeded(value);
  };

  const roles = createSingleFlight<Outcome<Holder & PodRole>>();
  const credentials = createSingleFlight<Outcome<Holder & { readonly credentials: MetadataCredentials }>>();

  /** By both clocks: the wall clock may be set to anything, and the monotonic one does not see the machine asleep. */
  const lifeLeftMs = ({ expiresAtMs, deadAtMs }: StoredCredentials): number =>
    Math.min(expiresAtMs - clock.now(), deadAtMs - clock.monotonic());

  /** Asks a server who the client is; `known` is what there is to fall back on. */
  const askRole = (
    client: Client,
    signal: AbortSignal,
    known: object | undefined,
  ): Promise<Outcome<Holder & PodRole>> =>
    ask(client, roles, { what: '', known, signal }, (confirm, giveUpAfterMs) =>
      gateway.podRole(client.address, { confirm, giveUpAfterMs }),
    );

  /** The client's pod as the store has it, if a server says the same of the pod and of what it may have. */
  const podOf = ({ address }: Client, { uid, roleArn }: Holder): StoredPod | undefined => {
    const pod = store.find(address);
    return pod?.uid === uid && pod.roleArn === roleArn ? pod : undefined;
  };

  const credentialsFor = (pod: StoredPod | undefined, role: string): MetadataCredentials | undefined => {
    if (pod === undefined || !isItsRole(pod, role)) return undefined;
    const credentials = store.credentialsOf(pod);
    return credentials !== undefined && lifeLeftMs(credentials) >= SHORTEST_LIFE_MS ? credentials.value : undefined;
  };

  return {
    knownRole: (client) => {
      const pod = trusted(client);
      if (pod !== undefined) metrics.fromMemory.inc();
      return pod;
    },
    knownCredentials: (client, role) => {
      const known = credentialsFor(trusted(client), role);
      if (known !== undefined) metrics.fromMemory.inc();
      return known;
    },
    ...(options.isStoreKept ? { knownUid: (address: string) => store.find(address)?.uid } : {}),
    podRole: async (client, signal) => {
      const known = (): PodRole | undefined => recalled(client);
      return answer(await askRole(client, signal, known()), known);
    },
    podCredentials: async (client, role, signal) => {
      const known = (): MetadataCredentials | undefined => credentialsFor(recalled(client), role);
      // With credentials in hand only who has the address is in doubt: a server can tell that while STS is slow or away.
      if (credentialsFor(store.find(client.address), role) !== undefined) {
        const holder = await askRole(client, signal, known());
        if (!holder.ok) return answer(holder, known);
        const own = credentialsFor(podOf(client, holder.value), role);
        if (own !== undefined) return answer(succeeded(own), known);
      }
      const outcome = await ask(client, credentials, { what: role, known: known(), signal }, (confirm, giveUpAfterMs) =>
        gateway.podCredentials(client.address, role, { confirm, giveUpAfterMs }),
      );
      return answer(outcome.ok ? succeeded(outcome.value.credentials) : outcome, known);
    },
    serverHealth: () => gateway.serverHealth(),
  };
}

/** The ways in which a pod may spell its own role; with any other the server decides. */
function isItsRole(pod: StoredPod, role: string): boolean {
  return pod.role !== '' && (role === pod.role || `/${role}` === pod.role || role === pod.roleArn);
}
