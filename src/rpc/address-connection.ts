import { type Client, connectivityState } from '@grpc/grpc-js';

import type { Clock } from '#runtime/clock.ts';

const { READY, TRANSIENT_FAILURE } = connectivityState;

/** `failed`: an attempt has failed or takes too long, and none has succeeded since. Attempts continue in any state. */
export type ConnectionState = 'connecting' | 'connected' | 'failed';

export interface AddressConnectionOptions {
  /** Makes a client of one address. */
  readonly open: () => Client;
  readonly clock: Clock;
  readonly onChange: () => void;
}

/** A client, and the calls that are in progress on it. */
interface OpenClient {
  readonly client: Client;
  calls: number;
  /** No new call is made on it. */
  isRetired: boolean;
}

/** Calls wait this long for a connection that is being made; after that it counts as failed. */
const CONNECTING_LIMIT_MS = 5000;

/**
 * An attempt that takes longer is given up for a new one. grpc-js has no limit of its own: before a process that hangs, whose
 * kernel accepts connections all the same, a TLS handshake waits for ever. (gRPC demands a limit:
 * https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md.)
 */
const ATTEMPT_LIMIT_MS = 30_000;

/** Keeps one address of a server connected, for ever, until it is retired or closed. */
export class AddressConnection {
  readonly #options: AddressConnectionOptions;
  #current: OpenClient;
  #state: ConnectionState = 'connecting';
  /** Ends the limits of the attempt that is in progress; undefined while connected. */
  #endLimit: (() => void) | undefined;

  /** Begins to connect at once. */
  constructor(options: AddressConnectionOptions) {
    this.#options = options;
    this.#current = this.#open();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Whether a call made now would fail at once with the reason why there is no connection. */
  get saysWhyNot(): boolean {
    return (
      !this.#current.isRetired && this.#current.client.getChannel().getConnectivityState(false) === TRANSIENT_FAILURE
    );
  }

  /** Makes a call; the client that it is made on is not closed before it has ended. */
  async run<T>(call: (client: Client) => Promise<T>): Promise<T> {
    const used = this.#current;
    used.calls += 1;
    try {
      return await call(used.client);
    } finally {
      used.calls -= 1;
      if (used.isRetired && used.calls === 0) used.client.close();
    }
  }

  /** Closes it after its last call. */
  retire(): void {
    this.#endLimit?.();
    retire(this.#current);
  }

  /** Closes it now. */
  close(): void {
    this.#endLimit?.();
    this.#current.isRetired = true;
    this.#current.client.close();
  }

  #open(): OpenClient {
    const opened = { client: this.#options.open(), calls: 0, isRetired: false };
    this.#limitAttempt();
    this.#follow(opened);
    return opened;
  }

  /** Notes the client's state at each change of it; an idle one is made to connect. */
  #follow(opened: OpenClient): void {
    if (opened.isRetired) return;
    const channel = opened.client.getChannel();
    const state = channel.getConnectivityState(true);
    if (state === READY) this.#become('connected');
    else if (state === TRANSIENT_FAILURE) this.#become('failed');
    else if (this.#state === 'connected') this.#become('connecting');
    // Not within the channel's own change of state.
    channel.watchConnectivityState(state, Infinity, () => queueMicrotask(() => this.#follow(opened)));
  }

  #become(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === 'connected') {
      this.#endLimit?.();
      this.#endLimit = undefined;
    } else if (this.#endLimit === undefined) this.#limitAttempt();
    this.#options.onChange();
  }

  #limitAttempt(): void {
    const { clock } = this.#options;
    const endHope = clock.after(CONNECTING_LIMIT_MS, () => this.#become('failed'));
    const endAttempt = clock.after(ATTEMPT_LIMIT_MS, () => {
      retire(this.#current);
      this.#current = this.#open();
    });
    this.#endLimit = () => {
      endHope();
      endAttempt();
    };
  }
}

function retire(opened: OpenClient): void {
  opened.isRetired = true;
  if (opened.calls === 0) opened.client.close();
}
