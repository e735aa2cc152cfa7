import type { Failure, Outcome } from '#domain/failure.ts';
import type { Gateway } from '#rpc/gateway.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSingleFlight } from '#runtime/single-flight.ts';

export interface SilenceOptions {
  readonly gateway: Pick<Gateway, 'serverHealth'>;
  readonly clock: Clock;
}

/** After this long without an answer it is checked whether the servers are slow or gone. */
const LISTEN_AFTER_MS = 100;

/**
 * A server that is there answers the health check in this time. Both together leave time for an answer within 300 ms on a busy
 * node.
 */
const SAYS_SO_WITHIN_MS = 100;

const SILENT: Failure = { kind: 'server-unavailable', message: 'no server answers' };

/**
 * The result of a question, or a failure when the servers are silent meanwhile. A hung server keeps its connection, one that
 * has just gone may still seem connected, and a live one may have reason to take long, such as an address that has passed to
 * another pod. Only an answer to another call tells these apart; the node's stream does not, because it ends whenever its one
 * server goes away. A question that is given up continues: its answer still establishes who the client is.
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
