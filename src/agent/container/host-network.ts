import { canonicalAddress } from '#domain/address.ts';
import type { Clock } from '#runtime/clock.ts';

/** A node's addresses change seldom, and there is one interface for each pod to read. */
const READ_AGAIN_MS = 1000;

/** Whether an address in canonical form is one of the node's own; `read` gives them as the kernel has them. */
export function createNodeAddressCheck(
  read: () => readonly string[],
  clock: Pick<Clock, 'monotonic'>,
): (address: string) => boolean {
  let addresses: ReadonlySet<string | undefined> = new Set();
  let readMs = Number.NEGATIVE_INFINITY;
  return (address) => {
    const nowMs = clock.monotonic();
    if (nowMs - readMs >= READ_AGAIN_MS) {
      addresses = new Set(read().map(canonicalAddress));
      readMs = nowMs;
    }
    return addresses.has(address);
  };
}
