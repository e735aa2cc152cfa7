import type { Clock } from '#runtime/clock.ts';

/** A failure that has not happened again for this long is over. */
const KEPT_MS = 120_000;
const MOST = 1000;

/** The nodes from which the last TLS handshake has failed, recently; for people. */
export class FailedHandshakes {
  readonly #clock: Clock;
  readonly #isNode: (address: string) => boolean;
  readonly #lastMs = new Map<string, number>();

  constructor(clock: Clock, isNode: (address: string) => boolean) {
    this.#clock = clock;
    this.#isNode = isNode;
  }

  /** Notes the end of a handshake; `isDone` is false when it failed. */
  note(address: string, isDone: boolean): void {
    this.#lastMs.delete(address);
    if (isDone || !this.#isNode(address)) return;
    const [oldest] = this.#lastMs.keys();
    if (this.#lastMs.size >= MOST && oldest !== undefined) this.#lastMs.delete(oldest);
    this.#lastMs.set(address, this.#clock.monotonic());
  }

  areFrom(addresses: readonly string[]): boolean {
    const sinceMs = this.#clock.monotonic() - KEPT_MS;
    return addresses.some((address) => (this.#lastMs.get(address) ?? Number.NEGATIVE_INFINITY) > sinceMs);
  }
}
