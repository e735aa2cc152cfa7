import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Failure, type FailureKind, type Outcome, succeeded } from '#domain/failure.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';

import type { CallResult } from './calls.ts';
import type { KiamClient } from './client.ts';
import {
  CONFIRM,
  type Confirm,
  credentialsOf,
  type Holder,
  type MethodName,
  type Methods,
  type Role,
} from './contract.ts';
import { failureOf } from './status.ts';

export interface GatewayOptions {
  readonly client: Pick<KiamClient, 'call' | 'hasOther'>;
  readonly clock: Clock;
  /** The longest that one question may take, every attempt included, in milliseconds. */
  readonly waitMs: number;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/**
 * What asks a server of the contract on behalf of pods. Never rejects. A question that was asked runs to its end, within the
 * time that it has: who no longer waits for the answer just does not hear it. (Each call that is cancelled resets an HTTP/2
 * stream, and a server that sees many resets takes them for an attack and closes the connection of the whole node:
 * CVE-2023-44487, and nghttp2's `stream_reset_rate_limit`.)
 */
export interface Gateway {
  podRole(address: string, how: Asking): Promise<Outcome<Holder & { readonly role: string }>>;
  podCredentials(
    address: string,
    role: string,
    how: Asking,
  ): Promise<Outcome<Holder & { readonly credentials: MetadataCredentials }>>;
  serverHealth(): Promise<Outcome<string>>;
}

export interface Asking {
  readonly confirm: Confirm;
  /** When to stop trying servers that are away, in milliseconds; at the end of the wait unless told. */
  readonly giveUpAfterMs?: number | undefined;
}

/** After this long without an answer another replica is asked as well: the first may be hung or cut off. */
const HEDGE_AFTER_MS = 300;

/** And yet another after about this long, where there is one that the question has not been to. */
const HEDGE_AGAIN_MS = 100;

/** With less time than this left another attempt could not be answered. */
const SHORTEST_ATTEMPT_MS = 20;

/** Kiam's server answers at once that it knows no pod: it is asked again this often, where ours waits by itself. */
const ASK_AGAIN = { firstMs: 10, capMs: 200 };

/** A server waits with an answer for pods that it does not know yet, so there must be room for all of a node's pods. */
const MOST_CALLS = 256;

/**
 * Where many calls take long the servers are busy, and asking each twice would make them busier. A hung replica does not use
 * these up: the second call of a question goes to another, which answers.
 */
const MOST_HEDGES = 16;

const NO_TIME: Failure = { kind: 'timed-out', message: 'no server answered in time' };

const NEVER = new AbortController().signal;

export function createGateway({ client, clock, waitMs, random = Math.random }: GatewayOptions): Gateway {
  const calls = createSlots(MOST_CALLS);
  const hedges = createSlots(MOST_HEDGES);

  /** Asks until there is an answer that another attempt would not change, or the time is up. */
  const ask = async <M extends MethodName>(
    method: M,
    request: Methods[M]['request'],
    giveUpAfterMs = waitMs,
  ): Promise<Outcome<Methods[M]['response']>> => {
    const startedMs = clock.monotonic();
    const deadlineMs = startedMs + waitMs;
    const backoff = createBackoff({ ...ASK_AGAIN, random });
    let failure: Failure | undefined;
    for (;;) {
      const answer = await calls.run(() => askReplicas(method, request, deadlineMs));
      if (answer === undefined) return { ok: false, failure: failure ?? NO_TIME };
      if (answer.ok) return answer;
      failure = moreTelling(failure, answer.failure);
      const isGivenUp = isOutOfReach(failure) && clock.monotonic() - startedMs >= giveUpAfterMs;
      if (isGivenUp || !isWorthAnotherAttempt(failure)) return { ok: false, failure };
      await sleep(clock, Math.min(backoff.nextMs(), deadlineMs - clock.monotonic()), NEVER);
    }
  };

  /**
   * One attempt, hedged: the answer of whichever replica is first to give one that settles the question. Undefined when there
   * is no time left for it.
   */
  const askReplicas = async <M extends MethodName>(
    method: M,
    request: Methods[M]['request'],
    deadlineMs: number,
  ): Promise<Outcome<Methods[M]['response']> | undefined> => {
    const timeoutMs = deadlineMs - clock.monotonic();
    if (timeoutMs < SHORTEST_ATTEMPT_MS) return undefined;
    const tried = new Set<string>();
    const first = client.call(method, request, { timeoutMs, signal: NEVER, tried });
    return new Promise((resolve) => {
      let waitingFor = 1;
      let failure: Failure | undefined;
      let cancelHedge = (): void => {};
      const settle = (result: CallResult<Methods[M]['response']>): void => {
        waitingFor -= 1;
        if (!result.ok) {
          failure = moreTelling(failure, failureOf(result));
          if (waitingFor > 0 && isWorthAnotherAttempt(failure)) return;
        }
        cancelHedge();
        cancelHedge = () => {};
        resolve(result.ok ? succeeded(result.response) : { ok: false, failure: failure ?? NO_TIME });
      };
      const hedge = (): void => {
        const leftMs = deadlineMs - clock.monotonic();
        if (leftMs < SHORTEST_ATTEMPT_MS) return;
        const another = client.hasOther(tried)
          ? hedges.tryRun(() => client.call(method, request, { timeoutMs: leftMs, signal: NEVER, tried }))
          : undefined;
        if (another !== undefined) {
          waitingFor += 1;
          void another.then(settle);
        }
        cancelHedge = clock.after(HEDGE_AGAIN_MS * (0.5 + random()), hedge);
      };
      cancelHedge = clock.after(HEDGE_AFTER_MS * (0.8 + 0.4 * random()), hedge);
      void first.then(settle);
    });
  };

  return {
    podRole: async (address, { confirm, giveUpAfterMs }) => {
      const answer = await ask('GetPodRole', { ip: address, confirm: CONFIRM[confirm] }, giveUpAfterMs);
      if (!answer.ok) return answer;
      return succeeded({ role: answer.value.name, ...holderOf(answer.value) });
    },
    podCredentials: async (address, role, { confirm, giveUpAfterMs }) => {
      const answer = await ask('GetPodCredentials', { ip: address, role, confirm: CONFIRM[confirm] }, giveUpAfterMs);
      if (!answer.ok) return answer;
      const credentials = credentialsOf(answer.value);
      if (credentials.accessKeyId === '' || credentials.secretAccessKey === '') {
        return failed('internal', 'the server sent no credentials');
      }
      return succeeded({ credentials, ...holderOf(answer.value) });
    },
    serverHealth: async () => {
      const answer = await ask('GetHealth', {});
      return answer.ok ? succeeded(answer.value.message) : answer;
    },
  };
}

function holderOf(answer: Pick<Role, 'uid' | 'role_arn' | 'view_age_ms'>): Holder {
  return { uid: answer.uid, roleArn: answer.role_arn, viewAgeMs: answer.view_age_ms };
}

/** The failures that another attempt may change; the later in the list, the more it tells. */
const PASSING: readonly FailureKind[] = ['server-unavailable', 'view-stale', 'timed-out', 'pod-not-found'];

/** Whether the same question may soon be answered otherwise, by this replica or by another. */
export function isWorthAnotherAttempt({ kind }: Failure): boolean {
  return PASSING.includes(kind);
}

/** Whether nobody can be asked: no server was there, or none that has the API server to ask. */
export function isOutOfReach({ kind }: Failure): boolean {
  return kind === 'server-unavailable' || kind === 'view-stale';
}

/** That no server was there says less than what another attempt was told, and the last word says more than the one before. */
function moreTelling(earlier: Failure | undefined, later: Failure): Failure {
  if (earlier === undefined || !isWorthAnotherAttempt(later)) return later;
  return PASSING.indexOf(later.kind) < PASSING.indexOf(earlier.kind) ? earlier : later;
}
