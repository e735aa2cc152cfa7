import { setImmediate as nextTurn } from 'node:timers/promises';

import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ObjectChange } from './object-store.ts';

/** Who is told of changes. A listener that throws harms neither the others nor the one who tells. */
export interface Listeners<R> {
  subscribe(listener: (change: ObjectChange<R>) => void): () => void;
  tell(change: ObjectChange<R>): void;
  /** Tells of many changes in turns, so that the event loop is not held up by what the listeners do. Never rejects. */
  tellAll(changes: readonly ObjectChange<R>[]): Promise<void>;
}

const CHANGES_PER_TURN = 100;

export function createListeners<R>({ logger, resource }: { logger: Logger; resource: string }): Listeners<R> {
  const listeners = new Set<(change: ObjectChange<R>) => void>();
  const tell = (change: ObjectChange<R>): void => {
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (error) {
        logger.error('a listener failed on a change of a Kubernetes object', {
          resource,
          error: describeError(error),
        });
      }
    }
  };
  return {
    subscribe: (listener) => {
      // A wrapper of its own: whoever subscribes the same function twice may unsubscribe it twice.
      const own = (change: ObjectChange<R>): void => listener(change);
      listeners.add(own);
      return () => {
        listeners.delete(own);
      };
    },
    tell,
    tellAll: async (changes) => {
      for (const [index, change] of changes.entries()) {
        if (index > 0 && index % CHANGES_PER_TURN === 0) await nextTurn();
        tell(change);
      }
    },
  };
}
