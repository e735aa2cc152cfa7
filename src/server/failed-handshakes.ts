import type { Clock } from '#runtime/clock.ts';

/** One that has not happened again for so long is over. */
const KEPT_MS = 120_000;
const MOST = 1000;

/** From which nodes TLS handshakes have failed recently; for people. */
export class FailedHandshakes {
  readonly #clock: Clock;
  readonly #isNode: (address: string) => boolean;
  readonly #lastMs = new Map<string, number>();

  constructor(clock: Clock, isNode: (address: string) => boolean) {
    this.#clock = clock;
    this.#isNode = isNode;
  }

  note(address: string): void {
    if (!this.#isNode(address)) return;
    this.#lastMs.delete(address);
    const [oldest] = this.#lastMs.keys();
    if (this.#lastMs.size >= MOST && oldest !== undefined) this.#lastMs.delete(oldest);
    this.#lastMs.set(address, this.#clock.monotonic());
  }

  areFrom(addresses: readonly string[]): boolean {
    const sinceMs = this.#clock.monotonic() - KEPT_MS;
    return addresses.some((address) => (this.#lastMs.get(address) ?? Number.NEGATIVE_INFINITY) > sinceMs);
  }
}
