import { type Failure, type Outcome, succeeded } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';

import type { CallResult } from './calls.ts';
import { isOneServersTrouble, isWorthAnotherAttempt, moreTelling, NO_TIME } from './passing-failures.ts';
import { failureOf } from './status.ts';

export interface HedgeOptions {
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** Whether a replica is connected that is not one of these. */
  readonly hasOther: (tried: ReadonlySet<string>) => boolean;
}

/** Makes one call to a replica that is not among `tried`, and adds that one. */
export type CallReplica<T> = (timeoutMs: number, tried: Set<string>) => Promise<CallResult<T>>;

/** Makes a call, and the same to other replicas while none has answered. Undefined when there is no time left for it. */
export type Hedge = <T>(deadlineMs: number, call: CallReplica<T>) => Promise<Outcome<T> | undefined>;

/** After this long without an answer another replica is called as well: the first may be hung or cut off. */
const HEDGE_AFTER_MS = 300;

/** And yet another after about this long, where there is one that was not called yet. */
const HEDGE_AGAIN_MS = 100;

/** With less time than this left another call could not be answered: servers keep 50 ms of it for the way back. */
const SHORTEST_CALL_MS = 60;

/** With less time than this left, STS would not answer another server either. */
const SHORTEST_SECOND_OPINION_MS = 100;

/**
 * Where many calls take long the servers are busy, and calling each twice would make them busier. A hung replica does not use
 * these up: the second call goes to another, which answers.
 */
const MOST_HEDGES = 16;

/** Calls replicas one after the other, and settles with the first answer that another replica would not change. */
export function createHedge({ clock, random, hasOther }: HedgeOptions): Hedge {
  const hedges = createSlots(MOST_HEDGES);
  return async (deadlineMs, call) => {
    const timeLeftMs = (): number => deadlineMs - clock.monotonic();
    if (timeLeftMs() < SHORTEST_CALL_MS) return undefined;
    const tried = new Set<string>();
    const first = call(timeLeftMs(), tried);
    return new Promise((resolve) => {
      let underWay = 1;
      let isSettled = false;
      let failure: Failure | undefined;
      let cancelHedge = (): void => {};
      const settle = (result: Awaited<typeof first>): void => {
        underWay -= 1;
        if (isSettled) return;
        if (!result.ok) {
          failure = moreTelling(failure, failureOf(result));
          if (isOneServersTrouble(failure)) callAnother(SHORTEST_SECOND_OPINION_MS);
          if (underWay > 0 && (isWorthAnotherAttempt(failure) || isOneServersTrouble(failure))) return;
        }
        isSettled = true;
        cancelHedge();
        resolve(result.ok ? succeeded(result.response) : { ok: false, failure: failure ?? NO_TIME });
      };
      const callAnother = (shortestMs: number): void => {
        if (timeLeftMs() < shortestMs || !hasOther(tried)) return;
        const another = hedges.tryRun(() => call(timeLeftMs(), tried));
        if (another === undefined) return;
        underWay += 1;
        void another.then(settle);
      };
      const hedge = (): void => {
        if (timeLeftMs() < SHORTEST_CALL_MS) return;
        callAnother(SHORTEST_CALL_MS);
        cancelHedge = clock.after(HEDGE_AGAIN_MS * (0.5 + random()), hedge);
      };
      cancelHedge = clock.after(HEDGE_AFTER_MS * (0.8 + 0.4 * random()), hedge);
      void first.then(settle);
    });
  };
}
