/** Resolves when the next small piece of work may be done. */
export type AwaitTurn = () => Promise<void>;

/**
 * Lets so many pieces of work be done in one turn of the event loop, whoever calls; the others wait in the order of their
 * calls.
 */
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
