import type { Clock } from './clock.ts';

/** Resolves when the next small piece of work may be done. */
export type AwaitTurn = () => Promise<void>;

/** Allows `piecesPerTurn` pieces of work in one turn of the event loop, for all callers together; the others wait in order. */
export function createTurnBudget(piecesPerTurn: number): AwaitTurn {
  const waiting: (() => void)[] = [];
  let left = piecesPerTurn;
  let isTurnDue = false;
  const scheduleTurn = (): void => {
    if (isTurnDue) return;
    isTurnDue = true;
    setImmediate(() => {
      isTurnDue = false;
      const next = waiting.splice(0, piecesPerTurn);
      left = piecesPerTurn - next.length;
      for (const proceed of next) proceed();
      if (next.length > 0) scheduleTurn();
    });
  };
  return () => {
    scheduleTurn();
    if (left > 0) {
      left -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      waiting.push(resolve);
    });
  };
}

/**
 * Lets small pieces of work be done for so many milliseconds in one turn of the event loop: a piece that takes longer than usual
 * makes the turn shorter, not longer.
 */
export function createTimeBudget(clock: Pick<Clock, 'monotonic'>, msPerTurn: number): AwaitTurn {
  let beganMs = clock.monotonic();
  let nextTurn: Promise<void> | undefined;
  return () => {
    if (nextTurn !== undefined || clock.monotonic() - beganMs < msPerTurn) return nextTurn ?? Promise.resolve();
    nextTurn = new Promise((resolve) => {
      setImmediate(() => {
        nextTurn = undefined;
        beganMs = clock.monotonic();
        resolve();
      });
    });
    return nextTurn;
  };
}
