import { isIPv4 } from 'node:net';

/**
 * Which address is given next: `rotate` goes round, as most CNI plug-ins do, so that an address rests before it is used
 * again; `lowest` takes a free one back into use at once, which is hard on whoever caches by address.
 */
export type AddressOrder = 'rotate' | 'lowest';

/** The addresses that pods are given. Never gives one address to two owners. */
export class AddressPool {
  readonly #addresses: readonly string[];
  readonly #taken = new Map<string, Set<string>>();
  #order: AddressOrder;
  #next = 0;

  /** `ranges` are addresses and IPv4 networks (`127.1.0.0/16`), whose first and last address are left out. */
  constructor(ranges: readonly string[], order: AddressOrder) {
    this.#addresses = ranges.flatMap(expand);
    this.#order = order;
  }

  setOrder(order: AddressOrder): void {
    this.#order = order;
  }

  /** A free address for an owner; undefined when there is none. */
  take(owner: string): string | undefined {
    const count = this.#addresses.length;
    const start = this.#order === 'lowest' ? 0 : this.#next;
    for (let step = 0; step < count; step += 1) {
      const index = (start + step) % count;
      const address = this.#addresses[index];
      if (address !== undefined && !this.#taken.has(address)) {
        this.#taken.set(address, new Set([owner]));
        this.#next = index + 1;
        return address;
      }
    }
    return undefined;
  }

  /** Notes that somebody has an address that was not given here; more than one may. */
  note(address: string, owner: string): void {
    const owners = this.#taken.get(address) ?? new Set();
    this.#taken.set(address, owners.add(owner));
  }

  giveBack(address: string, owner: string): void {
    const owners = this.#taken.get(address);
    if (owners?.delete(owner) === true && owners.size === 0) this.#taken.delete(address);
  }
}

function expand(range: string): readonly string[] {
  const [base = '', bits] = range.split('/');
  if (bits === undefined) return [base];
  const prefix = Number(bits);
  if (!isIPv4(base) || !Number.isInteger(prefix) || prefix < 8 || prefix > 30) {
    throw new RangeError(`'${range}' is not an IPv4 network of /8 to /30`);
  }
  const size = 2 ** (32 - prefix);
  const first = Math.floor(toNumber(base) / size) * size;
  return Array.from({ length: Math.min(size, MOST_ADDRESSES) - 2 }, (_, index) => toAddress(first + index + 1));
}

const MOST_ADDRESSES = 131_072;

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
