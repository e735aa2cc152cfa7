import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Failure, type Outcome } from '#domain/failure.ts';
import type { AddressCheck, Holder } from '#rpc/contract.ts';
import type { Gateway } from '#rpc/gateway.ts';
import { isOutOfReach, isWorthAnotherAttempt } from '#rpc/passing-failures.ts';
import type { Clock } from '#runtime/clock.ts';
import { unlessAborted } from '#runtime/within.ts';
import { createSingleFlight, type SingleFlight } from '#runtime/single-flight.ts';

import type { Client, PodRole } from '../ports.ts';
import { createSilence } from './silence.ts';
import type { Trust } from './trust.ts';

export interface QuestionsOptions {
  readonly gateway: Gateway;
  readonly trust: Pick<Trust, 'prepareCheck' | 'acceptAnswer'>;
  readonly clock: Clock;
}

export interface WaitOptions {
  /** Ends the asker's waiting alone. */
  readonly signal: AbortSignal;
  /** Whether the node's memory has an answer to use where no server answers: then servers are not waited for to the end. */
  readonly hasFallback: boolean;
}

/** What is asked of servers about a client. Never rejects. Who the client is, is established with each answer. */
export interface Questions {
  /** Who has the client's address, and what role. */
  role(client: Client, wait: WaitOptions): Promise<Outcome<Holder & PodRole>>;
  credentials(
    client: Client,
    role: string,
    wait: WaitOptions,
  ): Promise<Outcome<Holder & { readonly credentials: MetadataCredentials }>>;
  /**
   * Whether a failure means that no server can answer. A server that does not answer in time is slow, which is not the same.
   */
  isNobodyThere(failure: Failure): boolean;
}

/**
 * For how long unreachable servers are retried where the node's memory has an answer: the most impatient SDK waits half a
 * second.
 */
const GIVE_UP_AFTER_MS = 250;

/** A question that took this long has timed out. */
const RUN_OUT_MS = 500;

const CHANGED_HANDS = failed('pod-not-found', 'no pod found');

export function createQuestions({ gateway, trust, clock }: QuestionsOptions): Questions {
  const unlessSilent = createSilence({ gateway, clock });

  /** Adds who the client is: the server checks its address as is needed, and the answer must be for the client. */
  const established = async <T extends Holder>(
    client: Client,
    question: (check: AddressCheck) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    const pending = trust.prepareCheck(client);
    const outcome = await question(pending.check);
    if (!outcome.ok) return outcome;
    return trust.acceptAnswer(client, outcome.value, pending) ? outcome : CHANGED_HANDS;
  };

  /**
   * How a question reaches servers, from the outside in. Single flight: callers with the same question share one; the same
   * means the same address with the same evidence, or the same connection where there is no evidence. `established`: the server
   * checks the address. The gateway: attempts until one is final, each at one replica and then at others (`rpc/gateway`). A
   * flight may time out before the caller does: then there is another, unless the node's memory has an answer.
   */
  const lookUp = async <T extends Holder>(
    client: Client,
    flights: SingleFlight<Outcome<T>>,
    { what, wait: { signal, hasFallback } }: { readonly what: string; readonly wait: WaitOptions },
    question: (check: AddressCheck, giveUpAfterMs: number | undefined) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> => {
    const giveUpAfterMs = hasFallback ? GIVE_UP_AFTER_MS : undefined;
    const { address, evidence, acceptedMs } = client;
    const key = JSON.stringify([address, evidence.kind === 'none' ? acceptedMs : evidence.key, what]);
    // The result of the last question is the answer when the caller's time runs out during another.
    let earlier: Outcome<T> | undefined;
    for (;;) {
      const askedMs = clock.monotonic();
      const { isFirst, result } = flights(key, () => established(client, (check) => question(check, giveUpAfterMs)));
      const asking = hasFallback ? unlessSilent(result) : result;
      const last = earlier;
      const outcome = await (last === undefined ? asking : unlessAborted(asking, signal, () => last));
      if (outcome.ok || signal.aborted || !isWorthAnotherAttempt(outcome.failure)) return outcome;
      // What is answered at once, such as that the connection is not the address's present pod's, would be answered again.
      if (isFirst && clock.monotonic() - askedMs < RUN_OUT_MS) return outcome;
      if (hasFallback && isOutOfReach(outcome.failure)) return outcome;
      earlier = outcome;
    }
  };

  const roles = createSingleFlight<Outcome<Holder & PodRole>>();
  const credentials = createSingleFlight<Outcome<Holder & { readonly credentials: MetadataCredentials }>>();

  return {
    role: (client, wait) =>
      lookUp(client, roles, { what: '', wait }, (check, giveUpAfterMs) =>
        gateway.podRole(client.address, { check, giveUpAfterMs }),
      ),
    credentials: (client, role, wait) =>
      lookUp(client, credentials, { what: role, wait }, (check, giveUpAfterMs) =>
        gateway.podCredentials(client.address, role, { check, giveUpAfterMs }),
      ),
    isNobodyThere: isOutOfReach,
  };
}
