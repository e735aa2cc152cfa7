import { type Clock, sleep } from '#runtime/clock.ts';

import type { FollowCommand } from './command.ts';

export interface RuleEventsOptions {
  readonly follow: FollowCommand;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called for each deletion that may concern us; often many times for one happening. */
  readonly onDeletion: () => void;
}

/**
 * What `nft monitor destroy` prints when a rule of the three chains, a chain or a table goes (nft(8), MONITOR). Deletions in
 * the chains of kube-proxy, of which there may be thousands, are none of these.
 */
const DELETION =
  /^delete (?:(?:rule|chain) ip6? (?:(?:filter|security) FORWARD|nat PREROUTING)\b|table ip6? (?:filter|nat|security)\s*$)/;

const RESTART_MS = 30_000;

/**
 * Listens to the kernel until the signal aborts. Only a shortcut: the checks every few seconds find whatever it misses, and
 * all that iptables-legacy does, which the kernel does not announce. Ends by itself where nft is not installed.
 */
export async function followDeletions({ follow, clock, signal, onDeletion }: RuleEventsOptions): Promise<void> {
  while (!signal.aborted) {
    const onLine = (line: string): void => {
      if (DELETION.test(line)) onDeletion();
    };
    const hasRun = await follow('nft', ['monitor', 'destroy'], { signal, onLine });
    if (!hasRun) return;
    await sleep(clock, RESTART_MS, signal);
  }
}
