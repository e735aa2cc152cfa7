import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Failure, type Outcome, succeeded } from '#domain/failure.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';

import type { CallResult, KiamClient } from './client.ts';
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
  podRole(address: string, confirm: Confirm): Promise<Outcome<Holder & { readonly role: string }>>;
  podCredentials(
    address: string,
    role: string,
    confirm: Confirm,
  ): Promise<Outcome<Holder & { readonly credentials: MetadataCredentials }>>;
  serverHealth(): Promise<Outcome<string>>;
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

const NEVER = new AbortController().signal;

export function createGateway({ client, clock, waitMs, random = Math.random }: GatewayOptions): Gateway {
  const calls = createSlots(MOST_CALLS);
  const hedges = createSlots(MOST_HEDGES);

  /** Asks until there is an answer that another attempt would not change, or the time is up. */
  const ask = async <M extends MethodName>(
    method: M,
    request: Methods[M]['request'],
  ): Promise<Outcome<Methods[M]['response']>> => {
    const deadlineMs = clock.monotonic() + waitMs;
    const backoff = createBackoff({ ...ASK_AGAIN, random });
    let failure: Failure = { kind: 'server-unavailable', message: 'no server answered in time' };
    for (;;) {
      const answer = await calls.run(() => askReplicas(method, request, deadlineMs));
      if (answer === undefined) return { ok: false, failure };
      if (answer.ok) return succeeded(answer.response);
      failure = moreTelling(failure, failureOf(answer));
      if (!isWorthAnotherAttempt(failure)) return { ok: false, failure };
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
  ): Promise<CallResult<Methods[M]['response']> | undefined> => {
    const timeoutMs = deadlineMs - clock.monotonic();
    if (timeoutMs < SHORTEST_ATTEMPT_MS) return undefined;
    const tried = new Set<string>();
    const first = client.call(method, request, { timeoutMs, signal: NEVER, tried });
    return new Promise((resolve) => {
      let waitingFor = 1;
      let cancelHedge = (): void => {};
      const settle = (result: CallResult<Methods[M]['response']>): void => {
        waitingFor -= 1;
        if (!result.ok && waitingFor > 0 && isWorthAnotherAttempt(failureOf(result))) return;
        cancelHedge();
        cancelHedge = () => {};
        resolve(result);
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
    podRole: async (address, confirm) => {
      const answer = await ask('GetPodRole', { ip: address, confirm: CONFIRM[confirm] });
      if (!answer.ok) return answer;
      return succeeded({ role: answer.value.name, ...holderOf(answer.value) });
    },
    podCredentials: async (address, role, confirm) => {
      const answer = await ask('GetPodCredentials', { ip: address, role, confirm: CONFIRM[confirm] });
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

/** Whether the same question may soon be answered otherwise, by this replica or by another. */
function isWorthAnotherAttempt({ kind }: Failure): boolean {
  return kind === 'pod-not-found' || kind === 'server-unavailable' || kind === 'view-stale';
}

/** Running out of time says less than what an earlier attempt was told. */
function moreTelling(earlier: Failure, later: Failure): Failure {
  return later.kind === 'server-unavailable' && earlier.kind !== 'server-unavailable' ? earlier : later;
}
