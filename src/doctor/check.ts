import type { Clock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/deadline.ts';

import { cannotTell, type Finding, type Observation } from './finding.ts';

/** One thing that is looked at. It changes nothing, and may throw what it does not expect. */
export interface Check {
  /** One or two words: the second column of the report. */
  readonly name: string;
  /** How long it may take, in milliseconds. Default 15 s. */
  readonly limitMs?: number;
  look(signal: AbortSignal): Promise<readonly Observation[]> | readonly Observation[];
}

const LIMIT_MS = 15_000;

const FIX = 'try again; when it stays so, the daemon’s own log may say more';

/** Runs checks one after the other and hands over what each found. One that takes too long or breaks cannot tell. */
export async function* runChecks(checks: readonly Check[], clock: Clock): AsyncGenerator<Finding> {
  for (const check of checks) {
    for (const observation of await runCheck(check, clock)) yield { check: check.name, ...observation };
  }
}

async function runCheck(check: Check, clock: Clock): Promise<readonly Observation[]> {
  const { limitMs = LIMIT_MS } = check;
  const deadline = startDeadline(clock, limitMs, new AbortController().signal);
  const expired = new Promise<readonly Observation[]>((resolve) => {
    const giveUp = (): void => resolve([cannotTell(`it took longer than ${limitMs / 1000} s`, FIX)]);
    deadline.signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([check.look(deadline.signal), expired]);
  } catch (error) {
    return [cannotTell(error instanceof Error ? error.message : String(error), FIX)];
  } finally {
    deadline.clear();
  }
}
