import { setImmediate as nextTurn } from 'node:timers/promises';

import { describeError } from '#runtime/errors.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { ObjectChange } from './object-store.ts';

/** The listeners for changes. One that throws harms neither the others nor the caller. */
export interface Listeners<R> {
  subscribe(listener: (change: ObjectChange<R>) => void): () => void;
  tell(change: ObjectChange<R>): void;
  /**
   * Calls the listeners for many changes, spread over turns of the event loop so that they do not hold it up. Never rejects.
   */
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
      // A wrapper for each subscription, so that a function subscribed twice can be unsubscribed twice.
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
