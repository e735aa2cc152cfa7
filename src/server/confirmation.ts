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
  /** `--max-view-age`: how old knowledge about the owner of an address may be to count, in milliseconds. */
  readonly maxViewAgeMs: number;
}

export type AddressVerdict =
  /** The pod has the address, or had it `ageMs` milliseconds ago at most; 0 when the API server has just confirmed it. */
  | { readonly kind: 'holds'; readonly ageMs: number }
  /** The API server says otherwise. */
  | { readonly kind: 'moved' }
  /** It cannot be asked, and what the watch said is too old to count. */
  | { readonly kind: 'unsure' }
  /** The caller could not wait for it. */
  | { readonly kind: 'late' };

/**
 * After this long the API server counts as unreachable: a pod that waits for its first credentials waits for this read and for
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
 * Makes sure that an address still belongs to the pod that the watch shows. A watch is always behind, and a recent event proves
 * nothing, because a late watch delivers old events. So the API server is asked for the pod by name, once for each pod and
 * address, and again whenever the agent has a reason for doubt or no evidence of the node's kernel (docs/specification.md, 6).
 */
export class Confirmation {
  readonly #options: ConfirmationOptions;
  /** What was confirmed, by UID. An entry is removed with its pod. */
  readonly #confirmed = new Map<string, Confirmed>();
  /** Many questions about one pod at once cost two reads: a read that began before a question does not answer it. */
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
    // A caller that cannot wait for the API server gets no answer without it.
    if (read === undefined) return { kind: 'late' };
    if (read.reading.kind !== 'unknown') {
      const holds = read.reading.kind === 'found' && isSame(pod, read.reading.pod, check);
      this.#remember(pod, holds ? read.startedMs : undefined);
      return holds ? { kind: 'holds', ageMs: 0 } : { kind: 'moved' };
    }
    const ageMs = reader.viewAgeMs();
    return check !== 'read-or-refuse' && ageMs < maxViewAgeMs ? { kind: 'holds', ageMs } : { kind: 'unsure' };
  }

  /** A read that has not begun yet, shared by all callers until it begins. */
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
    // The pod may have gone during the read: its entry would never be removed.
    if (atMs === undefined || this.#options.pods.byUid(pod.uid) === undefined) this.#confirmed.delete(pod.uid);
    else this.#confirmed.set(pod.uid, { binding: bindingOf(pod), atMs });
  }
}

/**
 * Whether the API server agrees with the watch about a pod that has not ended: an ended one keeps in its status an address that
 * may be another pod's by now. An address with another interface than before is a restarted pod's, which one that is being
 * deleted never becomes.
 */
function isSame(pod: PodRecord, now: PodRecord, check: AddressCheck): boolean {
  if (now.uid !== pod.uid || bindingOf(now) !== bindingOf(pod) || !ownsItsAddress(now)) return false;
  return check !== 'read-or-refuse' || !now.terminating;
}

/** What has to be the same: the addresses and the node. */
function bindingOf({ addresses, nodeName, hostIps }: PodRecord): string {
  return JSON.stringify([nodeName, hostIps, addresses]);
}
