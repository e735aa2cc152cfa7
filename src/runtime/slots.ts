/** Runs a bounded number of tasks at a time; the others wait in order. */
export interface Slots {
  /** How many tasks wait for a slot. */
  readonly waiting: number;
  /** Runs `task` as soon as a slot is free, and frees it when the task has settled. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Runs `task` if a slot is free now; undefined, and nothing is run, when none is. */
  tryRun<T>(task: () => Promise<T>): Promise<T> | undefined;
}

/** The queue is bounded by the callers: each task in it has a caller that waits. */
export function createSlots(count: number): Slots {
  const waiting: (() => void)[] = [];
  let free = count;
  const release = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  const start = async <T>(task: () => Promise<T>): Promise<T> => {
    try {
      return await task();
    } finally {
      release();
    }
  };
  return {
    get waiting() {
      return waiting.length;
    },
    run: async (task) => {
      if (free > 0) free -= 1;
      else {
        await new Promise<void>((resolve) => {
          waiting.push(resolve);
        });
      }
      return start(task);
    },
    tryRun: (task) => {
      if (free === 0) return undefined;
      free -= 1;
      return start(task);
    },
  };
}
