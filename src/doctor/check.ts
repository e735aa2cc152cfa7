import type { Clock } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { within } from '#runtime/within.ts';

import { cannotTell, type Finding, type Observation } from './finding.ts';

/** One check. It changes nothing, and may throw for what it does not expect. */
export interface Check {
  /** One or two words: the second column of the report. */
  readonly name: string;
  /** How long it may take, in milliseconds. Default 15 s. */
  readonly limitMs?: number;
  look(signal: AbortSignal): Promise<readonly Observation[]> | readonly Observation[];
}

const LIMIT_MS = 15_000;

const FIX = 'try again; when it stays so, the daemon’s own log may say more';

/** Runs checks one after the other and yields what each found. A check that takes too long or throws gives `cannot tell`. */
export async function* runChecks(checks: readonly Check[], clock: Clock): AsyncGenerator<Finding> {
  for (const check of checks) {
    for (const observation of await runCheck(check, clock)) yield { check: check.name, ...observation };
  }
}

async function runCheck(check: Check, clock: Clock): Promise<readonly Observation[]> {
  const { limitMs = LIMIT_MS } = check;
  const tooLong = () => [cannotTell(`it took longer than ${limitMs / 1000} s`, FIX)];
  try {
    return await within({ clock, limitMs }, (signal) => check.look(signal), tooLong);
  } catch (error) {
    return [cannotTell(describeError(error), FIX)];
  }
}
