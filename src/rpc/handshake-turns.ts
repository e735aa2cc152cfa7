import type { Clock } from '#runtime/clock.ts';

export interface HandshakeTurnsOptions<T> {
  readonly clock: Clock;
  /** Begins the handshake of a connection. Call `ended` when the handshake or the connection has ended. */
  readonly begin: (connection: T) => void;
  /** Closes a connection: its client comes back later. */
  readonly refuse: (connection: T) => void;
}

/** The connections of one address, oldest first. */
interface Caller<T> {
  readonly waiting: Set<T>;
  readonly begun: Set<T>;
}

/** A handshake costs some milliseconds of CPU. With four at a time the event loop's delay was twice that of two. */
const AT_ONCE = 2;

/** A handshake that takes longer waits for its client, not for us: it continues, and the next one begins. */
const TURN_MS = 100;

/** Connections that wait or are in their handshake. */
const MOST_OPEN = 1024;

/**
 * Lets few handshakes run at a time. Nothing is known of a client before its handshake but its address, so addresses take
 * turns: one that opens many connections, or finishes none, waits for itself and keeps nobody else waiting. When there are
 * too many connections, the address that has the most gives one up.
 */
export class HandshakeTurns<T> {
  readonly #options: HandshakeTurnsOptions<T>;
  readonly #callers = new Map<string, Caller<T>>();
  readonly #addressOf = new Map<T, string>();
  /** Addresses with a connection that waits, in the order of their turns. */
  readonly #queue = new Set<string>();
  /** Handshakes that have a turn, and what stops its timer. */
  readonly #turns = new Map<T, () => void>();
  #isClosed = false;

  constructor(options: HandshakeTurnsOptions<T>) {
    this.#options = options;
  }

  /** How many connections wait for their handshake to begin. */
  get waiting(): number {
    let count = 0;
    for (const { waiting } of this.#callers.values()) count += waiting.size;
    return count;
  }

  arrive(address: string, connection: T): void {
    if (this.#isClosed) return this.#options.refuse(connection);
    const caller = this.#callers.get(address) ?? { waiting: new Set(), begun: new Set() };
    this.#callers.set(address, caller);
    caller.waiting.add(connection);
    this.#addressOf.set(connection, address);
    this.#queue.add(address);
    if (this.#addressOf.size > MOST_OPEN) this.#giveOneUp(caller);
    return this.#next();
  }

  /** The connection's handshake has ended, or the connection has. */
  ended(connection: T): void {
    this.#remove(connection);
    this.#next();
  }

  /** Refuses whatever has not finished its handshake, and whatever comes. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#addressOf.keys()) this.#refuse(connection);
  }

  #next(): void {
    while (this.#turns.size < AT_ONCE) {
      const address = this.#nextAddress();
      if (address === undefined) return;
      this.#queue.delete(address);
      const caller = this.#callers.get(address);
      const [connection] = caller?.waiting ?? [];
      if (caller === undefined || connection === undefined) continue;
      caller.waiting.delete(connection);
      caller.begun.add(connection);
      if (caller.waiting.size > 0) this.#queue.add(address);
      const endTurn = (): void => {
        this.#turns.delete(connection);
        this.#next();
      };
      this.#turns.set(connection, this.#options.clock.after(TURN_MS, endTurn));
      this.#options.begin(connection);
    }
  }

  /** The address whose turn it is. Addresses with an unfinished handshake come after the others. */
  #nextAddress(): string | undefined {
    for (const address of this.#queue) if (this.#callers.get(address)?.begun.size === 0) return address;
    const [first] = this.#queue;
    return first;
  }

  /** Of the address with the most connections: refuses the newest that waits, else the oldest unfinished handshake. */
  #giveOneUp(newcomer: Caller<T>): void {
    let most = newcomer;
    for (const caller of this.#callers.values()) if (sizeOf(caller) > sizeOf(most)) most = caller;
    const [stalled] = most.begun;
    const connection = [...most.waiting].at(-1) ?? stalled;
    if (connection !== undefined) this.#refuse(connection);
  }

  #refuse(connection: T): void {
    this.#remove(connection);
    this.#options.refuse(connection);
  }

  #remove(connection: T): void {
    const address = this.#addressOf.get(connection);
    const caller = address === undefined ? undefined : this.#callers.get(address);
    if (address === undefined || caller === undefined) return;
    this.#addressOf.delete(connection);
    caller.waiting.delete(connection);
    caller.begun.delete(connection);
    this.#turns.get(connection)?.();
    this.#turns.delete(connection);
    if (caller.waiting.size === 0) this.#queue.delete(address);
    if (sizeOf(caller) === 0) this.#callers.delete(address);
  }
}

function sizeOf({ waiting, begun }: Caller<unknown>): number {
  return waiting.size + begun.size;
}
