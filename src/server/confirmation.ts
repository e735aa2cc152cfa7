import { ownsItsAddress, type PodRecord, type PodReading } from '#domain/pod.ts';
import type { AddressCheck } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';
import { unlessAborted, within } from '#runtime/within.ts';
import { createNextFlight } from '#runtime/next-flight.ts';

import type { PodView, PodReader } from './ports.ts';

export interface ConfirmationOptions {
  readonly reader: PodReader;
  readonly pods: Pick<PodView, 'byUid' | 'subscribe'>;
  readonly clock: Clock;
  /** `--max-view-age`: check old knowledge of who has an address may be for it to count, in milliseconds. */
  readonly maxViewAgeMs: number;
}

export type AddressVerdict =
  /** The pod has the address, or had it so long ago at most; 0 when the API server has just said so. */
  | { readonly kind: 'holds'; readonly ageMs: number }
  /** The API server says otherwise. */
  | { readonly kind: 'moved' }
  /** It cannot be asked, and what the watch said is too old to count. */
  | { readonly kind: 'unsure' }
  /** Who asked could not wait for it. */
  | { readonly kind: 'late' };

/**
 * After this long the API server cannot be asked: a pod that waits for its first credentials waits for this as well, beside
 * AssumeRole.
 */
const READ_LIMIT_MS = 500;

/** What the API server said, and when it was asked, in monotonic milliseconds. */
interface Read {
  readonly reading: PodReading;
  readonly startedMs: number;
}

interface Confirmed {
  readonly binding: string;
  /** When the API server was asked, in monotonic milliseconds. */
  readonly atMs: number;
}

/**
 * Makes sure that an address is still the pod's that the watch says has it. A watch is always behind, and what it delivered
 * recently proves nothing: one that is late delivers what was so some time ago. So the API server is asked for the pod by name,
 * for each pod and address, and again whenever the agent has reason to doubt or nothing at the node holds the two together
 * (docs/specification.md, 6).
 */
export class Confirmation {
  readonly #options: ConfirmationOptions;
  /** What was confirmed, by UID. Entries leave with their pods. */
  readonly #confirmed = new Map<string, Confirmed>();
  /** A crowd's questions about one pod cost two reads: what began before a question says nothing about its moment. */
  readonly #share = createNextFlight<Read>();

  constructor(options: ConfirmationOptions) {
    this.#options = options;
    options.pods.subscribe(({ previous, current }) => {
      if (current === undefined && previous !== undefined) this.#confirmed.delete(previous.uid);
    });
  }

  /** Never rejects; takes the time of two reads at most, or until `signal` aborts. */
  async confirm(pod: PodRecord, check: AddressCheck, signal: AbortSignal): Promise<AddressVerdict> {
    const { reader, clock, maxViewAgeMs } = this.#options;
    const startedMs = clock.monotonic();
    const remembered = this.#remembered(pod, check, startedMs);
    if (remembered !== undefined) return { kind: 'holds', ageMs: startedMs - remembered.atMs };
    const read = await unlessAborted(this.#read(pod), signal, () => undefined);
    // A caller that could not wait for the API server is not answered without it.
    if (read === undefined) return { kind: 'late' };
    if (read.reading.kind !== 'unknown') {
      const holds = read.reading.kind === 'found' && isSame(pod, read.reading.pod, check);
      this.#remember(pod, holds ? read.startedMs : undefined);
      return holds ? { kind: 'holds', ageMs: 0 } : { kind: 'moved' };
    }
    const ageMs = reader.viewAgeMs();
    return check !== 'read-or-refuse' && ageMs < maxViewAgeMs ? { kind: 'holds', ageMs } : { kind: 'unsure' };
  }

  /** A read that has not begun yet, shared with all who ask before it has. */
  #read({ namespace, name }: PodRecord): Promise<Read> {
    const { reader, clock } = this.#options;
    return this.#share(JSON.stringify([namespace, name]), async () => {
      const startedMs = clock.monotonic();
      const reading = await within(
        { clock, limitMs: READ_LIMIT_MS },
        (signal) => reader.readPod(namespace, name, signal),
        (): PodReading => ({ kind: 'unknown', reason: 'the API server did not answer in time' }),
      );
      return { reading, startedMs };
    });
  }

  /** How long ago the API server last said that the pod has its addresses; undefined when it has not been asked. */
  confirmedAgoMs(pod: PodRecord): number | undefined {
    const confirmed = this.#confirmed.get(pod.uid);
    if (confirmed?.binding !== bindingOf(pod)) return undefined;
    return this.#options.clock.monotonic() - confirmed.atMs;
  }

  #remembered(pod: PodRecord, check: AddressCheck, nowMs: number): Confirmed | undefined {
    if (check === 'read' || check === 'read-or-refuse') return undefined;
    const confirmed = this.#confirmed.get(pod.uid);
    if (confirmed?.binding !== bindingOf(pod)) return undefined;
    return check === 'kernel-bound' || nowMs - confirmed.atMs < this.#options.maxViewAgeMs ? confirmed : undefined;
  }

  #remember(pod: PodRecord, atMs: number | undefined): void {
    // The pod may have gone while it was asked about: nothing would ever take the entry away again.
    if (atMs === undefined || this.#options.pods.byUid(pod.uid) === undefined) this.#confirmed.delete(pod.uid);
    else this.#confirmed.set(pod.uid, { binding: bindingOf(pod), atMs });
  }
}

/**
 * Whether what the API server says is what the watch said, of a pod that has not ended: one that has keeps the address in its
 * status, which may be another's by now. An address with another interface than before is a restarted pod's, which one that is
 * being deleted never becomes.
 */
function isSame(pod: PodRecord, now: PodRecord, check: AddressCheck): boolean {
  if (now.uid !== pod.uid || bindingOf(now) !== bindingOf(pod) || !ownsItsAddress(now)) return false;
  return check !== 'read-or-refuse' || !now.terminating;
}

/** What has to be the same: the addresses, and the node where they lead to. */
function bindingOf({ addresses, nodeName, hostIps }: PodRecord): string {
  return JSON.stringify([nodeName, hostIps, addresses]);
}
