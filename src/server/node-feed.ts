import { createHash } from 'node:crypto';

import { type Identity, identityKey, sessionNameOf } from '#domain/identity.ts';
import { type Credentials, metadataCredentials } from '#domain/credentials.ts';
import { isOnNode, type NodeId } from '#domain/node.ts';
import { asksByToken, ownsItsAddress, type PodRecord } from '#domain/pod.ts';
import { type PodBinding, wireCredentials } from '#rpc/contract.ts';
import type { AgentStream } from '#rpc/agent-stream.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';
import type { Slots } from '#runtime/slots.ts';

import type { NodeIndex } from './node-index.ts';
import type { CredentialCache, NamespaceView, PodView, TokenKeysView } from './ports.ts';

export interface NodeFeedOptions {
  /** The node that is proven of the agent. */
  readonly node: NodeId;
  readonly stream: AgentStream;
  readonly index: Pick<NodeIndex, 'podsOn' | 'subscribe'>;
  readonly pods: Pick<PodView, 'byUid' | 'find'>;
  readonly namespaces: Pick<NamespaceView, 'subscribe'>;
  readonly credentials: Pick<CredentialCache, 'peek' | 'subscribe'>;
  /** `--container-credentials`: by which keys the agent verifies pods' tokens; undefined without it. */
  readonly tokenKeys?: TokenKeysView | undefined;
  /** What a pod may have; undefined when it has no role or policy denies it. */
  readonly identify: (pod: PodRecord) => Identity | undefined;
  /** Called when the agent is told that a pod may no longer have its role. */
  readonly noteRevoked: (pod: PodRecord) => void;
  /** How long nothing has been heard from the API server, in milliseconds. */
  readonly silenceMs: () => number;
  /** The greatest possible age of what is known about pods, in milliseconds. */
  readonly viewAgeMs: () => number;
  /** `--max-view-age`, which the agent keeps to as well. */
  readonly maxViewAgeMs: number;
  readonly clock: Clock;
  /** Bounds for how many agents the complete set is built at a time: after an outage all of them ask for it at once. */
  readonly wholeSets: Pick<Slots, 'run'>;
  /** Awaited before each pod and set of credentials: what changes for many nodes at once must not hold up the event loop. */
  readonly awaitTurn: AwaitTurn;
  /** After this long the agent is asked to open another stream, before the connection's age cuts this one. */
  readonly lifetimeMs: number;
  /** Ends the stream as planned, when the server stops. */
  readonly closing: AbortSignal;
}

/** What has been sent on one stream, as a whole and about one pod. */
export interface FeedInspection {
  /** The agent's address and port. */
  readonly peer: string;
  readonly openForMs: number;
  /** The complete set has been sent once. */
  readonly isSynced: boolean;
  /** The agent is slow to read, so updates wait for it. */
  readonly isBehind: boolean;
  /** Something about the pod has changed that the agent has not been told yet. */
  readonly isChanging: boolean;
  /** The identity that the agent has been told of for the pod, by its key, `''` for none; undefined when not told of the pod. */
  readonly identityKey: string | undefined;
  /** Whether that identity's credentials have been sent on this stream; the agent may have them from an earlier one. */
  readonly hasCredentials: boolean;
}

/** An agent that hears nothing for three of these takes the stream for lost. */
export const HEARTBEAT_MS = 2000;

/** An agent that takes longer to read its set gets the rest outside its turn, so that the others get theirs. */
const TURN_MS = 500;

/**
 * Sends one agent its node's pods and what they may have: the complete set, a mark that it is complete, and then every change.
 * Pending is a set of pods and identities, each sent in its state at that moment, so that a slow agent gets the newest state
 * and nothing is queued for it.
 */
export class NodeFeed {
  readonly #options: NodeFeedOptions;
  readonly #changedPods = new Set<string>();
  readonly #changedIdentities = new Map<string, Identity>();
  /** What the agent was sent: for each pod, its identity's key or `''`. */
  readonly #sent = new Map<string, string>();
  /** How many of the pods sent have an identity. */
  readonly #holders = new Map<string, number>();
  /** The identities, by key, whose credentials were sent and whose last pod has not left since. */
  readonly #provided = new Set<string>();
  readonly #beganMs: number;
  #isSynced = false;
  #isBehind = false;
  #areKeysTold = false;
  #wake = new AbortController();

  constructor(options: NodeFeedOptions) {
    this.#options = options;
    this.#beganMs = options.clock.monotonic();
  }

  /** Of the stream, and of a pod by its UID. */
  inspect(uid: string): FeedInspection {
    const { clock, stream } = this.#options;
    const identityKey = this.#sent.get(uid);
    return {
      peer: stream.peer,
      openForMs: clock.monotonic() - this.#beganMs,
      isSynced: this.#isSynced,
      isBehind: this.#isBehind,
      isChanging: this.#changedPods.has(uid) || this.#changedIdentities.has(identityKey ?? ''),
      identityKey,
      hasCredentials: this.#provided.has(identityKey ?? ''),
    };
  }

  /** Feeds the agent until it goes, its time is up or the server stops. Never rejects. */
  async run(): Promise<void> {
    const { node, stream, index, namespaces, credentials, tokenKeys, pods, clock, lifetimeMs, closing } = this.#options;
    const endMs = clock.monotonic() + lifetimeMs;
    const unsubscribe = [
      index.subscribe(node, (uid) => this.#podChanged(uid)),
      namespaces.subscribe(({ previous, current }) => {
        const name = (current ?? previous)?.name;
        for (const uid of index.podsOn(node)) if (pods.byUid(uid)?.namespace === name) this.#podChanged(uid);
      }),
      credentials.subscribe((identity) => this.#issued(identity)),
      ...(tokenKeys === undefined ? [] : [tokenKeys.subscribe(() => this.#keysChanged())]),
    ];
    const wakeUp = (): void => this.#wake.abort();
    for (const signal of [stream.signal, closing]) signal.addEventListener('abort', wakeUp);
    try {
      await this.#tellWholeSet();
      while (!stream.signal.aborted && !closing.aborted && clock.monotonic() < endMs) {
        // The age of what is sent now is that of the view before it.
        const asOfMs = clock.monotonic() - this.#options.viewAgeMs();
        await this.#flush();
        await this.#beat(asOfMs);
        await this.#untilChange(Math.min(HEARTBEAT_MS, endMs - clock.monotonic()));
      }
      await this.#send({ moved: {} });
    } finally {
      for (const end of unsubscribe) end();
      for (const signal of [stream.signal, closing]) signal.removeEventListener('abort', wakeUp);
    }
  }

  /** Waits for its turn, with heartbeats to the agent meanwhile, and sends all of the node's pods. */
  async #tellWholeSet(): Promise<void> {
    const { clock, node, index, stream, closing, wholeSets } = this.#options;
    const begun = new AbortController();
    const told = new AbortController();
    void wholeSets.run(() => {
      begun.abort();
      return sleep(clock, TURN_MS, told.signal);
    });
    try {
      for (;;) {
        await sleep(clock, HEARTBEAT_MS, AbortSignal.any([begun.signal, stream.signal, closing]));
        if (begun.signal.aborted || stream.signal.aborted || closing.aborted) break;
        await this.#beat();
      }
      for (const uid of index.podsOn(node)) this.#changedPods.add(uid);
      await this.#flush();
      await this.#send({ synced: { max_view_age_ms: this.#options.maxViewAgeMs } });
      this.#isSynced = true;
    } finally {
      told.abort();
    }
  }

  /** Without the moment, the agent cannot tell how old the whole set is. */
  async #beat(asOfMs?: number): Promise<void> {
    const ageMs = asOfMs === undefined ? 0 : Math.max(1, this.#options.clock.monotonic() - asOfMs);
    await this.#send({
      heartbeat: { silence_ms: onTheWire(this.#options.silenceMs()), view_age_ms: onTheWire(ageMs) },
    });
  }

  #podChanged(uid: string): void {
    this.#changedPods.add(uid);
    this.#wake.abort();
  }

  #keysChanged(): void {
    this.#areKeysTold = false;
    this.#wake.abort();
  }

  #issued(identity: Identity): void {
    const key = identityKey(identity);
    if (!this.#holders.has(key)) return;
    this.#changedIdentities.set(key, identity);
    this.#wake.abort();
  }

  /** Waits for something to send, or until the next heartbeat is due. */
  async #untilChange(limitMs: number): Promise<void> {
    await sleep(this.#options.clock, limitMs, this.#wake.signal);
  }

  async #flush(): Promise<void> {
    this.#wake = new AbortController();
    await this.#sendTokenKeys();
    while (this.#changedPods.size + this.#changedIdentities.size > 0) {
      // Revocations go first, then new credentials.
      for (const uid of this.#changedPods) {
        await this.#options.awaitTurn();
        this.#changedPods.delete(uid);
        await this.#sendPod(uid);
      }
      for (const [key, identity] of this.#changedIdentities) {
        await this.#options.awaitTurn();
        this.#changedIdentities.delete(key);
        const credentials = this.#options.credentials.peek(identity);
        if (credentials === undefined || !this.#holders.has(key)) continue;
        this.#provided.add(key);
        await this.#sendCredentials(key, credentials);
      }
      if (this.#options.stream.signal.aborted) return;
    }
  }

  async #sendTokenKeys(): Promise<void> {
    const keys = this.#options.tokenKeys?.current;
    if (keys === undefined || this.#areKeysTold) return;
    this.#areKeysTold = true;
    await this.#send({ token_authority: keys });
  }

  async #sendPod(uid: string): Promise<void> {
    let provided: Credentials | undefined;
    // The agent may take its time to read what the pod needs first: then the pod is looked at again, for it may have changed.
    for (;;) {
      const pod = this.#options.pods.byUid(uid);
      const addresses = pod === undefined ? [] : this.#ownAddresses(pod);
      if (pod === undefined || (addresses.length === 0 && !this.#isToldWithoutAddress(pod))) return this.#sendGone(uid);
      const identity = this.#options.identify(pod);
      const key = identity === undefined ? '' : identityKey(identity);
      const credentials = identity === undefined ? undefined : this.#options.credentials.peek(identity);
      if (key !== '' && !this.#provided.has(key) && credentials !== undefined && credentials !== provided) {
        provided = credentials;
        await this.#sendCredentials(key, credentials);
        if (this.#options.stream.signal.aborted) return undefined;
        continue;
      }
      if (key === '' && (this.#sent.get(uid) ?? '') !== '') this.#options.noteRevoked(pod);
      this.#hold(uid, key);
      if (provided !== undefined && credentials === provided) this.#provided.add(key);
      return this.#send({ pod: bindingOf(pod, addresses, identity) });
    }
  }

  async #sendGone(uid: string): Promise<void> {
    if (!this.#sent.has(uid)) return;
    this.#hold(uid, undefined);
    await this.#send({ gone: { uid } });
  }

  #sendCredentials(key: string, credentials: Credentials): Promise<void> {
    return this.#send({
      credentials: {
        identity: labelOf(key),
        credentials: wireCredentials(metadataCredentials(credentials)),
        expires_at_ms: Math.round(credentials.expiresAtMs),
      },
    });
  }

  /** The addresses that are the pod's alone, as an agent of its node may see it. */
  #ownAddresses(pod: PodRecord): readonly string[] {
    const { node, pods } = this.#options;
    if (!isOnNode(pod, node) || !ownsItsAddress(pod)) return [];
    return pod.addresses.filter((address) => {
      const lookup = pods.find(address, { node });
      return lookup.kind === 'found' && lookup.pod.uid === pod.uid;
    });
  }

  /**
   * A pod with the host's network, which its token alone can prove. Never with an address, so that no address is taken for it.
   */
  #isToldWithoutAddress(pod: PodRecord): boolean {
    const { node, tokenKeys } = this.#options;
    return tokenKeys !== undefined && asksByToken(pod) && isOnNode(pod, node);
  }

  /** Records what the agent holds; both sides drop credentials with the last pod that has them. */
  #hold(uid: string, key: string | undefined): void {
    const before = this.#sent.get(uid) ?? '';
    if (key === undefined) this.#sent.delete(uid);
    else this.#sent.set(uid, key);
    if (key !== undefined && key !== '') this.#holders.set(key, (this.#holders.get(key) ?? 0) + 1);
    if (before === '') return;
    const left = (this.#holders.get(before) ?? 1) - 1;
    if (left > 0) this.#holders.set(before, left);
    else {
      this.#holders.delete(before);
      this.#provided.delete(before);
    }
  }

  async #send(update: Parameters<AgentStream['send']>[0]): Promise<void> {
    const { stream } = this.#options;
    if (stream.send(update) || stream.signal.aborted) return;
    this.#isBehind = true;
    await stream.drained();
    this.#isBehind = false;
  }
}

/** Stands for an infinite silence on the wire. */
const FOREVER_MS = 2 ** 52;

function onTheWire(ms: number): number {
  return Math.ceil(Math.min(ms, FOREVER_MS));
}

/**
 * Agents need to distinguish identities, not to know their contents: an external id is half secret. An agent keeps credentials
 * for as long as their label stays: the same identity has the same label on every replica and in every version.
 */
function labelOf(key: string): string {
  return key === '' ? '' : createHash('sha256').update(key).digest('base64url');
}

function bindingOf(pod: PodRecord, addresses: readonly string[], identity: Identity | undefined): PodBinding {
  const key = identity === undefined ? '' : identityKey(identity);
  return {
    uid: pod.uid,
    addresses,
    role: pod.role,
    role_arn: identity?.roleArn ?? '',
    identity: labelOf(key),
    namespace: pod.namespace,
    host_network: pod.hostNetwork,
    name: pod.name,
    service_account: pod.serviceAccount,
    node_name: pod.nodeName,
    session_name: identity === undefined ? '' : sessionNameOf(identity),
    service_account_uid: pod.serviceAccountUid,
  };
}
