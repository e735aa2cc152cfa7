import type { PodRecord } from '#domain/pod.ts';
import type { Confirm } from '#rpc/contract.ts';
import type { Clock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/deadline.ts';

import type { PodCache, PodReader } from './ports.ts';

export interface ConfirmationOptions {
  readonly reader: PodReader;
  readonly pods: Pick<PodCache, 'subscribe'>;
  readonly clock: Clock;
  /** `--max-view-age`: how long the watch may have been silent for its word to count, in milliseconds. */
  readonly maxViewAgeMs: number;
}

/**
 * `holds`: the API server says that the pod has the address. `moved`: it says otherwise. `unsure`: it cannot be asked, and
 * what the watch said is too old to count.
 */
export type Verdict = 'holds' | 'moved' | 'unsure';

/** A pod that waits for its first credentials waits for this as well, beside AssumeRole. */
const READ_LIMIT_MS = 500;

/**
 * Makes sure that an address is still the pod's that the watch says has it. A watch is always behind, and what it delivered
 * lately proves nothing: one that is late delivers what was so some time ago. So the API server is asked for the pod by name,
 * once for each pod and address, and again whenever the agent has reason to doubt (SPEC 6).
 */
export class Confirmation {
  readonly #options: ConfirmationOptions;
  /** The addresses that were confirmed, by UID. Entries leave with their pods. */
  readonly #confirmed = new Map<string, string>();

  constructor(options: ConfirmationOptions) {
    this.#options = options;
    options.pods.subscribe(({ previous, current }) => {
      if (current === undefined && previous !== undefined) this.#confirmed.delete(previous.uid);
    });
  }

  /** Never rejects; takes at most half a second, or until `signal` aborts. */
  async confirm(pod: PodRecord, how: Confirm, signal: AbortSignal): Promise<Verdict> {
    const binding = bindingOf(pod);
    if (how === 'once' && this.#confirmed.get(pod.uid) === binding) return 'holds';
    const { reader, clock, maxViewAgeMs } = this.#options;
    const deadline = startDeadline(clock, READ_LIMIT_MS, signal);
    try {
      const reading = await reader.readPod(pod.namespace, pod.name, deadline.signal);
      if (reading.kind === 'unknown') {
        return how !== 'certain' && reader.silenceMs() < maxViewAgeMs ? 'holds' : 'unsure';
      }
      const holds = reading.kind === 'found' && reading.pod.uid === pod.uid && bindingOf(reading.pod) === binding;
      if (holds) this.#confirmed.set(pod.uid, binding);
      else this.#confirmed.delete(pod.uid);
      return holds ? 'holds' : 'moved';
    } finally {
      deadline.clear();
    }
  }
}

/** What has to be the same: the addresses, and the node where they lead to. */
function bindingOf({ addresses, hostIp }: PodRecord): string {
  return JSON.stringify([hostIp, ...addresses]);
}
