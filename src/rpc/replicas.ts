import { createHash } from 'node:crypto';

import type { Clock } from '#runtime/clock.ts';

/** What is known of a replica by the calls that were made to it. */
interface Replica {
  /** Calls that it has not answered yet. */
  pending: number;
  /** Since when calls to it have been pending without any of them being answered; undefined while none is pending. */
  silentSinceMs: number | undefined;
  /** When the last call to it ended, in whatever way. */
  lastEndMs: number;
  /** How many streams are open to it: two while one takes the place of the other. */
  streams: number;
  /** When it last ended a stream unexpectedly. */
  streamFailedAtMs: number;
}

/** A replica that has answered none of its pending calls for this long counts as silent: the others are called first. */
const SILENCE_MS = 200;

/** This long after the last call that timed out a silent replica is called like the others again: it may be back. */
const TRY_AGAIN_MS = 5000;

/** The first turn is drawn at random from this many. */
const MOST_REPLICAS = 1000;

/**
 * Chooses the replica to call next, by what is known of each. In this order: one that the question has not been sent to; one
 * that is not silent; the one that has our stream, because it holds our pods' credentials; the one with the fewest calls in
 * progress. Equals take turns. None is ever excluded: where all are slow, they share the calls.
 */
export class Replicas {
  readonly #clock: Clock;
  readonly #known = new Map<string, Replica>();
  #connected: readonly string[] = [];
  #turn: number;
  /** Stands for the node where its address is not known, so that agents do not all choose the same replica. */
  readonly #unnamed: string;

  /** `random` is a number in [0, 1): each agent begins with another replica, so that they spread over all of them. */
  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#turn = Math.floor(random() * MOST_REPLICAS);
    this.#unnamed = String(random());
  }

  /** Says which replicas there are, and which of them can be asked now. What was known of any other is forgotten. */
  update(all: ReadonlySet<string>, connected: readonly string[]): void {
    this.#connected = connected;
    for (const name of this.#known.keys()) if (!all.has(name)) this.#known.delete(name);
  }

  /** Whether there is a replica to ask that is not one of these. */
  hasOther(tried: ReadonlySet<string>): boolean {
    return this.#connected.some((name) => !tried.has(name));
  }

  /** The replica to ask next; undefined when none is connected. */
  choose(tried: ReadonlySet<string>): string | undefined {
    this.#turn += 1;
    let best: { readonly name: string; readonly rank: readonly number[] } | undefined;
    for (let step = 0; step < this.#connected.length; step += 1) {
      const name = this.#connected[(this.#turn + step) % this.#connected.length];
      if (name === undefined) continue;
      const { pending = 0, streams = 0 } = this.#known.get(name) ?? {};
      const rank = [tried.has(name) ? 1 : 0, this.#silenceMs(name), streams > 0 ? 0 : 1, pending];
      if (best === undefined || isBefore(rank, best.rank)) best = { name, rank };
    }
    return best?.name;
  }

  /**
   * The replica to open a stream to; undefined when none is connected. The same for the same node as long as the same replicas
   * are there, whatever the order in which they connect: it then has the credentials of the node's pods already. When a replica
   * goes, only its nodes move, evenly to the others (rendezvous hashing). Replicas that are silent, or have just broken off a
   * stream, come after the others.
   */
  chooseForStream(node: string): string | undefined {
    const nowMs = this.#clock.monotonic();
    let best: { readonly name: string; readonly rank: readonly number[] } | undefined;
    for (const name of this.#connected) {
      const failedAtMs = this.#known.get(name)?.streamFailedAtMs ?? Number.NEGATIVE_INFINITY;
      const rank = [
        nowMs - failedAtMs < TRY_AGAIN_MS ? 1 : 0,
        this.#silenceMs(name),
        weightOf(node === '' ? this.#unnamed : node, name),
      ];
      if (best === undefined || isBefore(rank, best.rank)) best = { name, rank };
    }
    return best?.name;
  }

  /**
   * A stream to it begins. Call the returned function once, when the stream has ended; `isPlanned` says whether it was meant to
   * end.
   */
  streamOpened(name: string): (isPlanned: boolean) => void {
    const replica = this.#replica(name);
    replica.streams += 1;
    return (isPlanned) => {
      replica.streams -= 1;
      if (!isPlanned) replica.streamFailedAtMs = this.#clock.monotonic();
    };
  }

  /**
   * A call to it begins. Call the returned function once, when the call has ended; `isAnswered` is false when the time ran out.
   * A replica that has the same name later is another one and is not affected.
   */
  asked(name: string): (isAnswered: boolean) => void {
    const replica = this.#replica(name);
    if (replica.pending === 0 && this.#silenceMs(name) === 0) replica.silentSinceMs = undefined;
    replica.silentSinceMs ??= this.#clock.monotonic();
    replica.pending += 1;
    return (isAnswered) => {
      const nowMs = this.#clock.monotonic();
      replica.pending -= 1;
      replica.lastEndMs = nowMs;
      if (isAnswered) replica.silentSinceMs = replica.pending === 0 ? undefined : nowMs;
    };
  }

  /** It was found silent by other means than a call. */
  foundSilent(name: string): void {
    const replica = this.#replica(name);
    replica.lastEndMs = this.#clock.monotonic();
    replica.silentSinceMs ??= replica.lastEndMs - SILENCE_MS;
  }

  /** How long it has been silent, in milliseconds; 0 while that is too short to mean anything. */
  #silenceMs(name: string): number {
    const replica = this.#known.get(name);
    if (replica?.silentSinceMs === undefined) return 0;
    const nowMs = this.#clock.monotonic();
    if (replica.pending === 0 && nowMs - replica.lastEndMs >= TRY_AGAIN_MS) return 0;
    const silenceMs = nowMs - replica.silentSinceMs;
    return silenceMs < SILENCE_MS ? 0 : silenceMs;
  }

  #replica(name: string): Replica {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const replica = {
      pending: 0,
      silentSinceMs: undefined,
      lastEndMs: this.#clock.monotonic(),
      streams: 0,
      streamFailedAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#known.set(name, replica);
    return replica;
  }
}

/** A node belongs to the replica with the smallest weight. */
function weightOf(node: string, replica: string): number {
  return createHash('sha256')
    .update(JSON.stringify([node, replica]))
    .digest()
    .readUInt32BE();
}

/** Compares by the first number that differs. */
function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at >= 0 && (one[at] ?? 0) < (other[at] ?? 0);
}
