import type { Clock } from '#runtime/clock.ts';
import type { Identity } from '#domain/identity.ts';
import { identityKey } from '#domain/identity.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';
import { asksByToken, ownsItsAddress } from '#domain/pod.ts';
import type { NodeId } from '#domain/node.ts';
import { tagsDiffer } from '#domain/service-account.ts';
import { podFields } from '#telemetry/fields.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { NodeIndex } from './node-index.ts';
import type { PrefetchedNodes } from './prefetched-nodes.ts';
import type { CredentialCache, LiveIdentity, NamespaceView, NamespaceChange, PodView, PodChange } from './ports.ts';

export interface PrefetchOptions {
  readonly pods: Pick<PodView, 'byUid' | 'pods' | 'subscribe'>;
  readonly namespaces: Pick<NamespaceView, 'subscribe'>;
  readonly credentials: Pick<CredentialCache, 'get' | 'retain' | 'forgive'>;
  /** What a pod may have; undefined when it has no role or policy denies it. */
  readonly identify: (pod: PodRecord) => Identity | undefined;
  /** The nodes whose pods are this replica's to fetch for. */
  readonly nodes: Pick<PrefetchedNodes, 'has' | 'subscribe'>;
  readonly index: Pick<NodeIndex, 'podsOn'>;
  /** `--container-credentials`: pods with the host's network are served as well, by their token. */
  readonly containerCredentials?: boolean;
  /** `--fetchers`: how many identities are fetched at a time; 0 for none before a pod asks. */
  readonly fetchers: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An identity and how many live pods have it: altogether, and on the nodes that are this replica's. */
interface Reference {
  readonly identity: Identity;
  pods: number;
  podsHere: number;
}

/** What a pod counts for: the key of its identity, and whether its node is this replica's. */
interface Assignment {
  readonly key: string;
  readonly isHere: boolean;
}

/** The cache is told of identities that came and went at most this often: it reads the whole set. */
const RETAIN_INTERVAL_MS = 1000;

/** Pods looked at in one turn of the event loop: policy's expressions make this about 2 ms. */
const PODS_IN_TURN = 200;

/**
 * Has credentials fetched before pods ask for them: for each identity that a live pod on one of this replica's nodes has and
 * policy allows, whenever such a pod, its annotations, its namespace or the side of its node change. Works on a set of
 * identities, not on a queue of pods, so that nothing is dropped whatever the number; pods that ask go to the cache themselves
 * and overtake. The cache renews, and tries again what failed for a reason that passes; here is decided what it is told to
 * keep.
 */
export class Prefetch {
  readonly #options: PrefetchOptions;
  /** Pods that have to be looked at, by UID, and whether a remembered failure is out of date. */
  readonly #changed = new Map<string, { isRelevant: boolean }>();
  /** Of each live pod that has an identity, by UID. */
  readonly #assigned = new Map<string, Assignment>();
  readonly #references = new Map<string, Reference>();
  /** UIDs by namespace, of the pods with a role. */
  readonly #members = new Map<string, Set<string>>();
  readonly #wanted = new Map<string, Identity>();
  readonly #closing = new AbortController();
  readonly #unsubscribe: readonly (() => void)[];
  #fetching = 0;
  #isTurnDue = false;
  #cancelRetain: (() => void) | undefined;

  /** Starts at once, with the pods that are known already. */
  constructor(options: PrefetchOptions) {
    this.#options = options;
    this.#unsubscribe = [
      options.pods.subscribe((change) => this.#onPod(change)),
      options.namespaces.subscribe((change) => this.#onNamespace(change)),
      options.nodes.subscribe((node) => this.#onNode(node)),
    ];
    for (const pod of options.pods.pods()) this.#onPod({ previous: undefined, current: pod });
  }

  /** Identities that wait for a fetcher or have one. */
  get pending(): number {
    return this.#wanted.size + this.#fetching;
  }

  close(): void {
    this.#closing.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#cancelRetain?.();
    this.#changed.clear();
    this.#wanted.clear();
  }

  #onPod({ previous, current }: PodChange): void {
    const pod = current ?? previous;
    if (pod === undefined) return;
    const isMember = current !== undefined && current.role !== '';
    if (isMember) this.#membersOf(pod.namespace).add(pod.uid);
    else this.#forget(pod);
    this.#note(pod.uid, previous === undefined || current === undefined || differs(previous, current));
  }

  #onNamespace({ previous, current }: NamespaceChange): void {
    if (previous !== undefined && current !== undefined && !isOtherPolicy(previous, current)) return;
    for (const uid of this.#members.get((current ?? previous)?.name ?? '') ?? []) this.#note(uid, true);
  }

  #onNode(node: NodeId | 'all'): void {
    if (node !== 'all') for (const uid of this.#options.index.podsOn(node)) this.#note(uid, false);
    else for (const members of this.#members.values()) for (const uid of members) this.#note(uid, false);
  }

  #membersOf(namespace: string): Set<string> {
    let members = this.#members.get(namespace);
    if (members === undefined) {
      members = new Set();
      this.#members.set(namespace, members);
    }
    return members;
  }

  #forget(pod: PodRecord): void {
    const members = this.#members.get(pod.namespace);
    members?.delete(pod.uid);
    if (members?.size === 0) this.#members.delete(pod.namespace);
  }

  #note(uid: string, isRelevant: boolean): void {
    const noted = this.#changed.get(uid);
    if (noted === undefined) this.#changed.set(uid, { isRelevant });
    else noted.isRelevant ||= isRelevant;
    this.#takeTurn();
  }

  /** Looks at changed pods in the next turn of the event loop, and leaves it to others between two portions. */
  #takeTurn(): void {
    if (this.#isTurnDue || this.#closing.signal.aborted) return;
    this.#isTurnDue = true;
    setImmediate(() => {
      this.#isTurnDue = false;
      let left = PODS_IN_TURN;
      for (const [uid, { isRelevant }] of this.#changed) {
        this.#changed.delete(uid);
        this.#lookAt(uid, isRelevant);
        left -= 1;
        if (left === 0) break;
      }
      this.#fetch();
      if (this.#changed.size > 0) this.#takeTurn();
    });
  }

  #lookAt(uid: string, isRelevant: boolean): void {
    const { pods, identify, credentials, nodes, logger, fetchers } = this.#options;
    const pod = pods.byUid(uid);
    const identity = pod !== undefined && pod.role !== '' && this.#isServed(pod) ? identify(pod) : undefined;
    const isHere = pod !== undefined && nodes.has(pod);
    const before = this.#assigned.get(uid);
    const isNew = this.#assign(uid, identity, isHere);
    if (pod === undefined || identity === undefined || !isHere || !(isNew || isRelevant)) return;
    logger.debug('announced pod', podFields(pod));
    const key = identityKey(identity);
    // A stream that comes is no reason for STS to say something else.
    if (isRelevant || before?.key !== key) credentials.forgive(identity);
    if (fetchers > 0) this.#wanted.set(key, identity);
  }

  #isServed(pod: PodRecord): boolean {
    return ownsItsAddress(pod) || (this.#options.containerCredentials === true && asksByToken(pod));
  }

  /** Counts a pod under its present identity and side; true when either is another than before. */
  #assign(uid: string, identity: Identity | undefined, isHere: boolean): boolean {
    const before = this.#assigned.get(uid);
    const key = identity === undefined ? undefined : identityKey(identity);
    if (key === before?.key && (before === undefined || before.isHere === isHere)) return false;
    if (key !== undefined && identity !== undefined) {
      const reference = this.#references.get(key) ?? { identity, pods: 0, podsHere: 0 };
      reference.pods += 1;
      if (isHere) reference.podsHere += 1;
      this.#references.set(key, reference);
    }
    if (before !== undefined) this.#release(before);
    if (key === undefined) this.#assigned.delete(uid);
    else this.#assigned.set(uid, { key, isHere });
    this.#retainSoon();
    return true;
  }

  #release({ key, isHere }: Assignment): void {
    const reference = this.#references.get(key);
    if (reference === undefined) return;
    reference.pods -= 1;
    if (isHere) reference.podsHere -= 1;
    if (reference.podsHere === 0) this.#wanted.delete(key);
    if (reference.pods === 0) this.#references.delete(key);
  }

  #retainSoon(): void {
    this.#cancelRetain ??= this.#options.clock.after(RETAIN_INTERVAL_MS, () => {
      this.#cancelRetain = undefined;
      // While pods wait to be looked at the set is not complete, and an identity that is missing from it would be dropped.
      if (this.#changed.size > 0) this.#retainSoon();
      else this.#options.credentials.retain(this.#identities());
    });
  }

  *#identities(): Iterable<LiveIdentity> {
    for (const { identity, podsHere } of this.#references.values()) yield { identity, isRenewed: podsHere > 0 };
  }

  #fetch(): void {
    const { credentials, fetchers } = this.#options;
    for (const [key, identity] of this.#wanted) {
      if (this.#fetching >= fetchers || this.#closing.signal.aborted) return;
      this.#wanted.delete(key);
      this.#fetching += 1;
      void credentials.get(identity, 'prefetch', this.#closing.signal).then(() => {
        this.#fetching -= 1;
        this.#fetch();
      });
    }
  }
}

/** Whether a pod differs in what leads to its credentials. Its resource version alone changes with each report of its node. */
function differs(previous: PodRecord, current: PodRecord): boolean {
  return (
    previous.role !== current.role ||
    previous.sessionName !== current.sessionName ||
    previous.externalId !== current.externalId ||
    tagsDiffer(previous.sessionTags, current.sessionTags) ||
    previous.phase !== current.phase ||
    previous.hostNetwork !== current.hostNetwork ||
    previous.mirror !== current.mirror ||
    previous.nodeName !== current.nodeName ||
    previous.hostIps.join() !== current.hostIps.join() ||
    previous.addresses.join() !== current.addresses.join()
  );
}

function isOtherPolicy(previous: NamespaceRecord, current: NamespaceRecord): boolean {
  return previous.permitted !== current.permitted || previous.isList !== current.isList;
}
