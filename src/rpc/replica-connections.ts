import type { Client } from '@grpc/grpc-js';

import { type Clock, sleep } from '#runtime/clock.ts';

import { AddressConnection } from './address-connection.ts';
import { Replicas } from './replicas.ts';

export interface ReplicaConnectionsOptions {
  /** Makes a client of one address. */
  readonly open: (address: string) => Client;
  readonly clock: Clock;
  /** A connection was lost, or could not be made. */
  readonly onTrouble: () => void;
}

/** A replica to make a call to. */
export interface ChosenReplica {
  readonly address: string;
  readonly connection: AddressConnection;
}

/**
 * One connection to each address of the servers' name, all under one certificate, and what is known of the replica behind each.
 */
export class ReplicaConnections {
  readonly replicas: Replicas;
  readonly #options: ReplicaConnectionsOptions;
  readonly #connections = new Map<string, AddressConnection>();
  readonly #retirement = new AbortController();
  #change = new AbortController();

  constructor(options: ReplicaConnectionsOptions) {
    this.#options = options;
    this.replicas = new Replicas(options.clock);
  }

  /** Aborts when connections under a new certificate have replaced these: calls still end here, streams move. */
  get retired(): AbortSignal {
    return this.#retirement.signal;
  }

  get isConnected(): boolean {
    return this.#states().includes('connected');
  }

  /** Whether a replica is not connected. */
  get isTroubled(): boolean {
    return this.#states().some((state) => state !== 'connected');
  }

  /** Whether every address there is has failed. */
  get hasFailed(): boolean {
    const states = this.#states();
    return states.length > 0 && states.every((state) => state === 'failed');
  }

  /** Sets the addresses. A connection to any other address closes after its last call. */
  update(addresses: readonly string[]): void {
    for (const [address, connection] of this.#connections) {
      if (addresses.includes(address)) continue;
      this.#connections.delete(address);
      connection.retire();
    }
    const { open, clock, onTrouble } = this.#options;
    for (const address of addresses) {
      if (this.#connections.has(address)) continue;
      const onChange = (): void => {
        this.#changed();
        if (this.isTroubled) onTrouble();
      };
      this.#connections.set(address, new AddressConnection({ open: () => open(address), clock, onChange }));
    }
    this.#changed();
  }

  /**
   * The replica to call next, which is added to `tried`. Where none is connected and none is connecting it is one that cannot
   * be reached, so that the failed call says why. Undefined while a connection is being made, and where there is no address.
   */
  choose(tried: Set<string>): ChosenReplica | undefined {
    return this.#chosen(this.replicas.choose(tried) ?? this.#unreachable(), tried);
  }

  /** The replica to open the node's stream to, as {@link Replicas.chooseForStream}; else as `choose`. */
  chooseForStream(node: string): ChosenReplica | undefined {
    return this.#chosen(this.replicas.chooseForStream(node) ?? this.#unreachable(), new Set());
  }

  #chosen(address: string | undefined, tried: Set<string>): ChosenReplica | undefined {
    const connection = address === undefined ? undefined : this.#connections.get(address);
    if (address === undefined || connection === undefined) return undefined;
    tried.add(address);
    return { address, connection };
  }

  /** Resolves when something has changed, the time is up, or `signal` aborts. */
  untilChange(delayMs: number, signal: AbortSignal): Promise<void> {
    return sleep(this.#options.clock, delayMs, AbortSignal.any([signal, this.#change.signal]));
  }

  /** Closes every connection after its last call. */
  retire(): void {
    this.#retirement.abort();
    for (const connection of this.#connections.values()) connection.retire();
    this.#announce();
  }

  /** Closes every connection now. */
  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#announce();
  }

  #states(): string[] {
    return [...this.#connections.values()].map(({ state }) => state);
  }

  #unreachable(): string | undefined {
    if (!this.hasFailed) return undefined;
    for (const [address, connection] of this.#connections) if (connection.saysWhyNot) return address;
    return undefined;
  }

  #changed(): void {
    const connected = [...this.#connections].filter(([, { state }]) => state === 'connected');
    this.replicas.update(
      new Set(this.#connections.keys()),
      connected.map(([address]) => address),
    );
    this.#announce();
  }

  #announce(): void {
    this.#change.abort();
    this.#change = new AbortController();
  }
}
