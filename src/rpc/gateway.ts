import type { MetadataCredentials } from '#domain/credentials.ts';
import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';

import type { KiamClient } from './client.ts';
import {
  ADDRESS_CHECKS,
  type AddressCheck,
  credentialsOf,
  type Holder,
  type MethodName,
  type Methods,
  type Role,
} from './contract.ts';
import { createHedge } from './hedge.ts';
import { retry } from './retry.ts';

export interface GatewayOptions {
  readonly client: Pick<KiamClient, 'call' | 'hasOther'>;
  readonly clock: Clock;
  /** The longest that one question may take, every attempt included, in milliseconds. */
  readonly waitMs: number;
  /** Whether this agent has a stream from a server, or is about to have one; sent with each call. Default: it has none. */
  readonly isWatching?: () => boolean;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/**
 * Asks the servers on behalf of pods. Never rejects. A call runs to its end within its time, also when nobody waits for the
 * answer any more. (Each call that is cancelled resets an HTTP/2 stream, and a server that sees many resets takes them for an
 * attack and closes the connection of the whole node: CVE-2023-44487, and nghttp2's `stream_reset_rate_limit`.)
 */
export interface Gateway {
  podRole(address: string, options: QuestionOptions): Promise<Outcome<Holder & { readonly role: string }>>;
  podCredentials(
    address: string,
    role: string,
    options: QuestionOptions,
  ): Promise<Outcome<Holder & { readonly credentials: MetadataCredentials }>>;
  serverHealth(): Promise<Outcome<string>>;
}

export interface QuestionOptions {
  readonly check: AddressCheck;
  /**
   * For how long servers that cannot be reached are retried, in milliseconds from the first failure. Default: until the time is
   * up.
   */
  readonly giveUpAfterMs?: number | undefined;
}

/** A server holds the call for a pod that it does not know yet, so there must be room for all of a node's pods. */
const MOST_CALLS = 256;

const NEVER = new AbortController().signal;

/** Asks a server once, however it is reached. Never rejects. */
export type AskServer = <M extends MethodName>(
  method: M,
  message: Methods[M]['request'],
  giveUpAfterMs?: number,
) => Promise<Outcome<Methods[M]['response']>>;

export function createGateway({
  client,
  clock,
  waitMs,
  isWatching = () => false,
  random = Math.random,
}: GatewayOptions): Gateway {
  const slots = createSlots(MOST_CALLS);
  const hedge = createHedge({ clock, random, hasOther: (tried) => client.hasOther(tried) });

  /**
   * One question: attempts until one is final. Each attempt calls one replica, then others too; the number of attempts at a
   * time is bounded.
   */
  const request = <M extends MethodName>(
    method: M,
    message: Methods[M]['request'],
    giveUpAfterMs?: number,
  ): Promise<Outcome<Methods[M]['response']>> => {
    const deadlineMs = clock.monotonic() + waitMs;
    return retry({ clock, deadlineMs, giveUpAfterMs, random }, () =>
      slots.run(() =>
        hedge(deadlineMs, (timeoutMs, tried) => client.call(method, message, { timeoutMs, tried, signal: NEVER })),
      ),
    );
  };

  return gatewayOver(request, isWatching);
}

/** The gateway over any way to ask a server; `isWatching` as in {@link GatewayOptions}. */
export function gatewayOver(request: AskServer, isWatching: () => boolean = () => false): Gateway {
  return {
    podRole: async (address, { check, giveUpAfterMs }) => {
      const answer = await request(
        'GetPodRole',
        { ip: address, confirm: ADDRESS_CHECKS[check], watching: isWatching() },
        giveUpAfterMs,
      );
      if (!answer.ok) return answer;
      return succeeded({ role: answer.value.name, ...holderOf(answer.value) });
    },
    podCredentials: async (address, role, { check, giveUpAfterMs }) => {
      const answer = await request(
        'GetPodCredentials',
        { ip: address, role, confirm: ADDRESS_CHECKS[check], watching: isWatching() },
        giveUpAfterMs,
      );
      if (!answer.ok) return answer;
      const credentials = credentialsOf(answer.value);
      if (credentials.accessKeyId === '' || credentials.secretAccessKey === '') {
        return failed('internal', 'the server sent no credentials');
      }
      return succeeded({ credentials, ...holderOf(answer.value) });
    },
    serverHealth: async () => {
      const answer = await request('GetHealth', {});
      return answer.ok ? succeeded(answer.value.message) : answer;
    },
  };
}

function holderOf(answer: Pick<Role, 'uid' | 'role_arn' | 'view_age_ms'>): Holder {
  return { uid: answer.uid, roleArn: answer.role_arn, viewAgeMs: answer.view_age_ms };
}
