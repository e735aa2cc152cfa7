import { ownsItsAddress, type PodRecord } from '#domain/pod.ts';

/** Which live pods claim an address. Nearly every address has one claimant: only the others need a list. */
export class AddressIndex {
  readonly #sole = new Map<string, PodRecord>();
  readonly #contested = new Map<string, readonly PodRecord[]>();

  /** Addresses that more than one live pod claims. */
  get contestedCount(): number {
    return this.#contested.size;
  }

  claimants(address: string): readonly PodRecord[] {
    const sole = this.#sole.get(address);
    return sole === undefined ? (this.#contested.get(address) ?? []) : [sole];
  }

  add(pod: PodRecord): void {
    if (!ownsItsAddress(pod)) return;
    for (const address of pod.addresses) this.#set(address, [...this.claimants(address), pod]);
  }

  remove(pod: PodRecord): void {
    if (!ownsItsAddress(pod)) return;
    for (const address of pod.addresses) {
      this.#set(
        address,
        this.claimants(address).filter(({ uid }) => uid !== pod.uid),
      );
    }
  }

  #set(address: string, pods: readonly PodRecord[]): void {
    const [first, second] = pods;
    this.#sole.delete(address);
    this.#contested.delete(address);
    if (first !== undefined && second === undefined) this.#sole.set(address, first);
    if (second !== undefined) this.#contested.set(address, pods);
  }
}
