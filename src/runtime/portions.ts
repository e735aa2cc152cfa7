/** Resolves when the next small piece of work may be done. */
export type AwaitPortion = () => Promise<void>;

/** Lets so many pieces of work be done in one turn of the event loop, whoever asks; the others wait in the order of asking. */
export function createPortions(piecesPerTurn: number): AwaitPortion {
  const waiting: (() => void)[] = [];
  let left = piecesPerTurn;
  let isTurnDue = false;
  const awaitTurn = (): void => {
    if (isTurnDue) return;
    isTurnDue = true;
    setImmediate(() => {
      isTurnDue = false;
      const next = waiting.splice(0, piecesPerTurn);
      left = piecesPerTurn - next.length;
      for (const proceed of next) proceed();
      if (next.length > 0) awaitTurn();
    });
  };
  return () => {
    awaitTurn();
    if (left > 0) {
      left -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      waiting.push(resolve);
    });
  };
}
