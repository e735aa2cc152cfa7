import type { Client } from '#agent/ports.ts';
import { plainSessions, type SessionRules, type SessionTag, type TagMode } from '#domain/attribution.ts';
import type { PodRecord } from '#domain/pod.ts';
import { startDeadline } from '#runtime/within.ts';

import { ManualClock } from '../support/manual-clock.ts';
import { podRecord } from '../support/pods.ts';
import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { type Agent, NODE_NAME, type Replica, type Sabotage, startAgent, startReplica } from './daemons.ts';
import { startTaggingSts, type TaggingSts } from './tagging-sts.ts';
import { Truth } from './truth.ts';

export interface ModelOptions {
  readonly seed: number;
  /** Whether the node's kernel shows who has an address. */
  readonly hasEvidence: boolean;
  readonly handOvers: number;
  readonly sabotage?: Sabotage;
  /** Sessions have tags: pods share four roles, and what a pod is given must have its own tags. */
  readonly tags?: Exclude<TagMode, 'off'>;
}

export interface ModelResult {
  readonly handOvers: number;
  /** How many of them gave the address away at once, and not after the time that CNI plugins wait. */
  readonly atOnce: number;
  readonly requests: number;
  readonly fromMemory: number;
  /** Answers with a name or credentials of another identity. */
  readonly wrong: readonly string[];
  /** Of sessions with tags: those whose tags were compared with their pod's. */
  readonly compared: number;
  readonly calls: number;
  /** Requests of pods that had their address all the time: those that could be served, and those of them that were not. */
  readonly steady: { readonly due: number; readonly refused: number; readonly served: number; readonly asked: number };
  /** Requests of new pods that were refused although every server knew them and everything was in reach. */
  readonly lateRefusals: number;
  /** Addresses that the agent's memory has wrong when all has been quiet for a while. */
  readonly unsettled: number;
}

const TICK_MS = 100;
const ADDRESSES = 24;
/** Of these, so many never change hands. */
const STEADY = 6;
/** As long as the agent lets a client wait. */
const WAIT_MS = 5000;
/** For so long the usual CNI plugins keep a freed address unused. */
const CNI_WAIT_MS = 30_000;
const LONGEST_DELAY_MS = 60_000;

interface Owner {
  readonly uid: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Its own session tag. */
  readonly team: string;
  readonly role: string;
  /** Some pods never ask. */
  readonly asks: boolean;
  readonly sinceMs: number;
  /** When the API server showed it with its address; infinite until then. */
  shownMs: number;
  wasServed: boolean;
  /** The connection that the pod has open; it ends with the pod. */
  connection: Client | undefined;
  readonly end: AbortController;
}

interface Slot {
  readonly address: string;
  readonly isSteady: boolean;
  owner: Owner | undefined;
  /** The next moment at which the address is given away, or is taken by the next pod when it has no owner. */
  nextMs: number;
}

/** Moments at which something is out of reach, known beforehand so that a hand-over can be planned by them. */
interface Outage {
  readonly fromMs: number;
  readonly untilMs: number;
}

/**
 * A node whose addresses pass from pod to pod, each with a role of its own, before late watches, broken streams, replaced
 * servers and outages. An address is given away at once where a witness is left: with the kernel's evidence of the former pod,
 * or with the API server in reach until the watch has told. Where neither is, the next pod gets it after the time that CNI
 * plugins wait.
 */
export class Model {
  readonly #options: ModelOptions;
  readonly #random: () => number;
  readonly #clock = new ManualClock();
  readonly #truth = new Truth(this.#clock);
  readonly #slots: readonly Slot[];
  readonly #apiOutages: readonly Outage[];
  readonly #serverOutages: readonly Outage[];
  readonly #wrong: string[] = [];
  #replicas: Replica[] = [];
  #agent: Agent;
  #count = 0;
  #handOvers = 0;
  #atOnce = 0;
  #requests = 0;
  #compared = 0;
  readonly #sts: TaggingSts | undefined;
  #fromMemory = 0;
  #lateRefusals = 0;
  readonly #steady = { due: 0, refused: 0, served: 0, asked: 0 };

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#random = repeatableRandom(options.seed);
    this.#sts = options.tags === undefined ? undefined : startTaggingSts(this.#clock);
    const horizonMs = (options.handOvers / (ADDRESSES - STEADY)) * 60_000 + 600_000;
    this.#apiOutages = this.#planOutages(horizonMs);
    this.#serverOutages = this.#planOutages(horizonMs);
    this.#slots = Array.from({ length: ADDRESSES }, (_, index) => ({
      address: `192.0.2.${index + 1}`,
      isSteady: index < STEADY,
      owner: undefined,
      nextMs: 0,
    }));
    for (const slot of this.#slots) this.#take(slot);
    for (const slot of this.#slots) if (slot.owner !== undefined) this.#show(slot, slot.owner);
    this.#replicas = [this.#newReplica(), this.#newReplica()];
    this.#agent = startAgent(this.#setting(), () => this.#replicas);
  }

  async run(): Promise<ModelResult> {
    while (this.#handOvers < this.#options.handOvers) await this.#tick();
    const unsettled = await this.#settle();
    this.#agent.stop();
    for (const replica of this.#replicas) replica.death.abort();
    await this.#clock.advance(1000);
    this.#sts?.close();
    return {
      handOvers: this.#handOvers,
      atOnce: this.#atOnce,
      requests: this.#requests,
      fromMemory: this.#fromMemory,
      wrong: this.#wrong,
      compared: this.#compared,
      calls: this.#sts?.calls ?? 0,
      steady: this.#steady,
      lateRefusals: this.#lateRefusals,
      unsettled,
    };
  }

  async #tick(): Promise<void> {
    await this.#clock.advance(TICK_MS);
    const nowMs = this.#clock.monotonic();
    this.#truth.isApiInReach = !isWithin(this.#apiOutages, nowMs);
    for (const { view } of this.#replicas) view.hear();
    this.#changeServers(nowMs);
    for (const slot of this.#slots) {
      const { owner } = slot;
      if (!slot.isSteady && nowMs >= slot.nextMs) this.#handOver(slot, nowMs);
      else if (owner !== undefined && owner.shownMs === Number.POSITIVE_INFINITY && this.#random() < 0.2)
        this.#show(slot, owner);
      if (slot.owner?.asks === true && this.#random() < (this.#sts === undefined ? 0.06 : 0.02))
        void this.#ask(slot, slot.owner);
    }
  }

  /** All in reach, nothing changes, and the slowest watch has told everything: what does the memory say now? */
  async #settle(): Promise<number> {
    this.#truth.isApiInReach = true;
    if (this.#replicas.length === 0) this.#replicas = [this.#newReplica()];
    // Freed addresses wait their time here as well.
    await this.#pass(CNI_WAIT_MS);
    for (const slot of this.#slots) {
      if (slot.owner === undefined) this.#take(slot);
      if (slot.owner !== undefined) this.#show(slot, slot.owner);
    }
    await this.#pass(LONGEST_DELAY_MS + 15_000);
    return this.#slots.filter(({ address, owner }) => this.#agent.store.find(address)?.uid !== owner?.uid).length;
  }

  /** Time passes in which nothing happens but what is on its way. */
  async #pass(forMs: number): Promise<void> {
    for (let pastMs = 0; pastMs < forMs; pastMs += TICK_MS) {
      await this.#clock.advance(TICK_MS);
      for (const { view } of this.#replicas) view.hear();
    }
  }

  #setting() {
    const { hasEvidence, sabotage = 'none' } = this.#options;
    const tagged = this.#sts && { sessions: this.#rules(), sts: this.#sts };
    return { truth: this.#truth, clock: this.#clock, random: this.#random, hasEvidence, sabotage, tagged };
  }

  #newReplica(): Replica {
    const delayMs = this.#random() < 0.3 ? 0 : this.#random() * LONGEST_DELAY_MS;
    return startReplica(this.#setting(), delayMs);
  }

  /** Replicas die and are replaced, at an outage all of them; a new one needs the API server to begin. */
  #changeServers(nowMs: number): void {
    const isOutage = isWithin(this.#serverOutages, nowMs);
    this.#replicas = this.#replicas.filter((replica) => {
      const stays = !isOutage && this.#random() > 0.002;
      if (!stays) replica.death.abort();
      return stays;
    });
    if (!isOutage && this.#truth.isApiInReach)
      while (this.#replicas.length < 2) this.#replicas.push(this.#newReplica());
  }

  #handOver(slot: Slot, nowMs: number): void {
    const former = slot.owner;
    if (former !== undefined) {
      this.#truth.remove(former.name);
      former.end.abort();
      slot.owner = undefined;
      if (!this.#mayPassAtOnce(former, nowMs)) {
        slot.nextMs = nowMs + CNI_WAIT_MS;
        return;
      }
      this.#atOnce += 1;
    }
    this.#take(slot, former?.name);
    this.#handOvers += 1;
  }

  /** Whether somebody can tell the former pod from the next. */
  #mayPassAtOnce(former: Owner, nowMs: number): boolean {
    // What was said before the hand-over counts for as long as CNI plugins wait, and a question takes a second.
    const isInReach = (outages: readonly Outage[]): boolean =>
      !outages.some(({ fromMs, untilMs }) => fromMs < nowMs + CNI_WAIT_MS + 1000 && untilMs > nowMs);
    if (this.#options.hasEvidence) return former.wasServed || isInReach(this.#apiOutages);
    // The agent reaches the API server through a server of ours, or not at all.
    return isInReach(this.#apiOutages) && isInReach(this.#serverOutages);
  }

  /** The next pod has the address; the API server is told a little later. StatefulSets give the same name again. */
  #take(slot: Slot, formerName?: string): void {
    this.#count += 1;
    const nowMs = this.#clock.monotonic();
    const uid = `uid-${this.#count}`;
    const owner: Owner = {
      uid,
      name: formerName !== undefined && this.#random() < 0.5 ? formerName : `pod-${this.#count}`,
      role: this.#sts === undefined ? `role-${this.#count}` : `role-${this.#count % 4}`,
      serviceAccount: `app-${this.#count % 3}`,
      team: `team-${this.#count % 2}`,
      asks: slot.isSteady || this.#random() < 0.7,
      sinceMs: nowMs,
      shownMs: Number.POSITIVE_INFINITY,
      wasServed: false,
      connection: undefined,
      end: new AbortController(),
    };
    slot.owner = owner;
    slot.nextMs = nowMs + 5000 + this.#random() * 100_000;
    this.#truth.plug(slot.address);
    this.#truth.put(recordOf(owner, []));
  }

  #show({ address }: Slot, owner: Owner): void {
    if (owner.shownMs !== Number.POSITIVE_INFINITY) return;
    owner.shownMs = this.#clock.monotonic();
    this.#truth.put(recordOf(owner, [address]));
  }

  /** Asks for the name of the role and then for its credentials, or goes for a role that it had heard of. */
  async #ask(slot: Slot, owner: Owner): Promise<void> {
    this.#requests += 1;
    const askedMs = this.#clock.monotonic();
    const { source } = this.#agent;
    const client = this.#connect(slot, owner);
    const isDue = this.#isDue(slot, owner, askedMs);
    const forbidden = `role-${Math.ceil(this.#random() * this.#count)}`;
    const asked = this.#random() < 0.1 ? forbidden : owner.role;
    const name = source.knownRole(client)?.role ?? (await this.#roleOf(client, owner));
    if (this.#isCut(owner)) return;
    if (name !== undefined && name !== owner.role)
      this.#wrong.push(`${owner.uid} was told of ${name} at ${askedMs} ms`);
    const known = source.knownCredentials(client, asked);
    if (known !== undefined) this.#fromMemory += 1;
    const outcome =
      known === undefined
        ? await source.podCredentials(client, asked, this.#patience(owner))
        : ({ ok: true, value: known } as const);
    if (this.#isCut(owner)) return;
    const key = outcome.ok ? outcome.value.accessKeyId : undefined;
    const isOwn = key !== undefined && this.#isOf(owner, key);
    if (key !== undefined && !isOwn) this.#wrong.push(`${owner.uid} was given ${this.#inWords(key)} at ${askedMs} ms`);
    if (isOwn) owner.wasServed = true;
    if (asked !== owner.role) return;
    if (slot.isSteady) this.#countSteady(isDue, key !== undefined);
    else if (isDue && key === undefined && slot.owner === owner) this.#lateRefusals += 1;
  }

  /** Whether these credentials are this pod's: of its role, or with its tags. */
  #isOf(owner: Owner, accessKeyId: string): boolean {
    if (this.#sts === undefined) return accessKeyId === owner.role;
    this.#compared += 1;
    return JSON.stringify(this.#sts.tagsOf(accessKeyId)) === JSON.stringify(this.#tagsOf(owner));
  }

  #inWords(accessKeyId: string): string {
    return this.#sts === undefined ? accessKeyId : JSON.stringify(this.#sts.tagsOf(accessKeyId));
  }

  #rules(): SessionRules {
    return { ...plainSessions('kiam'), tags: this.#options.tags ?? 'off', clusterName: 'model' };
  }

  /** What its sessions have to say of the pod. */
  #tagsOf({ uid, name, serviceAccount, team }: Owner): readonly SessionTag[] {
    const ofPod: readonly SessionTag[] = [
      ['kubernetes-pod-name', name],
      ['kubernetes-pod-uid', uid],
    ];
    return [
      ['eks-cluster-name', 'model'],
      ['kubernetes-namespace', 'default'],
      ['kubernetes-service-account', serviceAccount],
      ...(this.#options.tags === 'pod' ? ofPod : []),
      ['team', team],
    ];
  }

  /** By a new connection or by the one that is open already. */
  #connect({ address }: Slot, owner: Owner): Client {
    if (owner.connection === undefined || this.#random() < 0.5) {
      const evidence = this.#agent.readEvidence(address);
      const isToldApart = this.#options.sabotage !== 'connections are not told apart';
      owner.connection = { address, evidence, acceptedMs: isToldApart ? this.#clock.monotonic() : 0 };
    }
    return owner.connection;
  }

  /**
   * Whether an answer no longer reaches who asked. Connections end with their pod, before its address is free. Where the kernel
   * shows who has the address, the agent must not even try.
   */
  #isCut(owner: Owner): boolean {
    return !this.#options.hasEvidence && owner.end.signal.aborted;
  }

  async #roleOf(client: Client, owner: Owner): Promise<string | undefined> {
    const outcome = await this.#agent.source.podRole(client, this.#patience(owner));
    return outcome.ok ? outcome.value.role : undefined;
  }

  /** A client waits for so long at the most, and no longer than its pod lives. */
  #patience(owner: Owner): AbortSignal {
    return startDeadline(this.#clock, WAIT_MS, owner.end.signal).signal;
  }

  #countSteady(isDue: boolean, isServed: boolean): void {
    this.#steady.asked += 1;
    if (isServed) this.#steady.served += 1;
    if (!isDue) return;
    this.#steady.due += 1;
    if (!isServed) this.#steady.refused += 1;
  }

  /**
   * Whether the rules say that the pod can be served: a server is there and knows it, and the API server can be asked; or the
   * kernel holds the pod to what the agent knows of it already.
   */
  #isDue(slot: Slot, owner: Owner, nowMs: number): boolean {
    const isQuiet = (outages: readonly Outage[]): boolean =>
      !outages.some(({ fromMs, untilMs }) => fromMs < nowMs + 2000 && untilMs > nowMs - 1000);
    const isKnown = this.#replicas.length > 0 && this.#replicas.every(({ view }) => knows(view, slot, owner));
    if (isKnown && isQuiet(this.#apiOutages) && isQuiet(this.#serverOutages)) return true;
    return this.#options.hasEvidence && slot.isSteady && owner.wasServed && this.#isRemembered(slot, owner);
  }

  #isRemembered({ address }: Slot, { uid }: Owner): boolean {
    const pod = this.#agent.store.find(address);
    return pod?.uid === uid && this.#agent.store.credentialsOf(pod) !== undefined;
  }

  #planOutages(horizonMs: number): readonly Outage[] {
    const outages: Outage[] = [];
    for (let atMs = 60_000; atMs < horizonMs;) {
      const fromMs = atMs + this.#random() * 240_000;
      const untilMs = fromMs + (this.#random() < 0.5 ? this.#random() * 10_000 : this.#random() * 150_000);
      outages.push({ fromMs, untilMs });
      atMs = untilMs + 30_000;
    }
    return outages;
  }
}

function recordOf({ uid, name, role, serviceAccount, team }: Owner, addresses: readonly string[]): PodRecord {
  return podRecord({ uid, name, role, serviceAccount, addresses, sessionTags: [['team', team]] });
}

function knows(view: Replica['view'], { address }: Slot, { uid }: Owner): boolean {
  const lookup = view.pods.find(address, { node: { by: 'name', name: NODE_NAME } });
  return lookup.kind === 'found' && lookup.pod.uid === uid;
}

function isWithin(outages: readonly Outage[], nowMs: number): boolean {
  return outages.some(({ fromMs, untilMs }) => fromMs <= nowMs && nowMs < untilMs);
}
