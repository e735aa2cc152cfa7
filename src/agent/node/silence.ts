import type { Failure, Outcome } from '#domain/failure.ts';
import type { Gateway } from '#rpc/gateway.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSingleFlight } from '#runtime/single-flight.ts';

export interface SilenceOptions {
  readonly gateway: Pick<Gateway, 'serverHealth'>;
  readonly clock: Clock;
}

/** A question that has no answer for so long: are the servers slow, or is none there? */
const LISTEN_AFTER_MS = 100;

/** A server that is there says so in this time. Both together leave time for an answer within 300 ms on a busy node. */
const SAYS_SO_WITHIN_MS = 100;

const SILENT: Failure = { kind: 'server-unavailable', message: 'no server answers' };

/**
 * What a question comes to, unless servers are silent meanwhile. One that hangs keeps its connection, and one that went away just
 * now may still seem to have it; one that is there may have reason to take long, such as an address that has passed to another
 * pod: only that it answers something else tells these apart. How the node's stream fares does not: it ends whenever the one
 * server that it is to goes away. A question that is given up continues: its answer still tells who the client is.
 */
export function createSilence({
  gateway,
  clock,
}: SilenceOptions): <T>(asking: Promise<Outcome<T>>) => Promise<Outcome<T>> {
  const health = createSingleFlight<Outcome<string>>();
  return (asking) =>
    new Promise((resolve) => {
      let isSettled = false;
      let cancel = (): void => {};
      const settle = (outcome: Awaited<typeof asking>): void => {
        isSettled = true;
        cancel();
        resolve(outcome);
      };
      const listen = (): void => {
        cancel = clock.after(SAYS_SO_WITHIN_MS, () => settle({ ok: false, failure: SILENT }));
        void health('', () => gateway.serverHealth()).result.then(({ ok }) => {
          if (isSettled || !ok) return;
          cancel();
          cancel = clock.after(LISTEN_AFTER_MS, listen);
        });
      };
      cancel = clock.after(LISTEN_AFTER_MS, listen);
      void asking.then(settle);
    });
}
