import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

/** Resolves a name to its addresses; rejects when it has none or cannot be resolved. */
export type ResolveHost = (host: string) => Promise<readonly string[]>;

export interface ServerAddressesOptions {
  /** A name, or an IP address without brackets, which is then the only address. */
  readonly host: string;
  readonly clock: Clock;
  readonly resolve: ResolveHost;
  /** Called when the addresses have changed, or when the name has failed to resolve. */
  readonly onChange: () => void;
  /** Whether an address does not answer: then the name is resolved more often. */
  readonly isTroubled: () => boolean;
}

/** A new server is found by resolving the name again; a lost one is noticed by its connection. */
const INTERVAL_MS = { calm: 30_000, troubled: 5000 };

/** However many connections are lost, the name is not resolved more often than this. */
const SHORTEST_INTERVAL_MS = 2000;

/** While no address is known at all. */
const FIRST_LOOK = { firstMs: 200, capMs: 5000 };

/** Follows the addresses of the servers' name. Those that are known stay known while the name does not resolve. */
export class ServerAddresses {
  readonly #options: ServerAddressesOptions;
  readonly #closed = new AbortController();
  #current: readonly string[] = [];
  #problem: string | undefined;
  #isLookAsked = false;
  #wake = (): void => {};

  /** Begins to follow them at once. */
  constructor(options: ServerAddressesOptions) {
    this.#options = options;
    if (isIP(options.host) === 0) void this.#follow();
    else this.#current = [options.host];
  }

  get current(): readonly string[] {
    return this.#current;
  }

  /** Why there is no address; undefined while there is one, and before the first answer. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves the name soon: a connection was lost, and its successor may have another address. */
  refresh(): void {
    this.#isLookAsked = true;
    this.#wake();
  }

  close(): void {
    this.#closed.abort();
    this.#wake();
  }

  async #follow(): Promise<void> {
    const { clock, isTroubled } = this.#options;
    const closed = this.#closed.signal;
    const backoff = createBackoff(FIRST_LOOK);
    while (!closed.aborted) {
      await this.#look();
      if (this.#current.length === 0) await sleep(clock, backoff.nextMs(), closed);
      else {
        await sleep(clock, SHORTEST_INTERVAL_MS, closed);
        const intervalMs = isTroubled() ? INTERVAL_MS.troubled : INTERVAL_MS.calm;
        await this.#pause(intervalMs - SHORTEST_INTERVAL_MS);
      }
    }
  }

  async #look(): Promise<void> {
    const { host, resolve, onChange } = this.#options;
    this.#isLookAsked = false;
    let found: readonly string[] = [];
    let cause = 'it has no address';
    try {
      found = [...new Set(await resolve(host))].toSorted();
    } catch (error) {
      cause = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    }
    if (this.#closed.signal.aborted) return;
    if (found.length > 0) {
      const isChanged = found.join(' ') !== this.#current.join(' ');
      this.#current = found;
      this.#problem = undefined;
      if (isChanged) onChange();
    } else if (this.#current.length === 0) {
      this.#problem = `${host} cannot be resolved: ${cause}`;
      onChange();
    }
  }

  /** Waits for `delayMs` or until `refresh` is called; not at all when it was called since the last resolution. */
  async #pause(delayMs: number): Promise<void> {
    if (this.#isLookAsked || this.#closed.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = () => {};
  }
}

/** Both families, as the node's own resolver and hosts file have them. */
export const resolveHost: ResolveHost = async (host) => {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
};
