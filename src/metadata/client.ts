import { Agent } from 'node:http';

import type { Clock } from '#runtime/clock.ts';
import { unlessAborted, within } from '#runtime/within.ts';

import { metadataFailure, type MetadataOutcome } from './answer.ts';
import { exchange, type Question } from './exchange.ts';
import { SessionToken, TOKEN_HEADER } from './session-token.ts';

export interface MetadataClientOptions {
  /** An `http:` URL without a path, as `--metadata-endpoint` is checked to be. */
  readonly endpoint: string;
  readonly clock: Clock;
  /** The longest that one question may take, token and repetition included, in milliseconds. */
  readonly limitMs?: number;
}

export interface MetadataQuestion {
  readonly signal: AbortSignal;
  /** Without the question mark. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * The real EC2 instance metadata service, by IMDSv2 where it knows it
 * (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html).
 */
export interface MetadataClient {
  /** Reads a path, which must be in canonical form already. Ends within the limit, in at most 1 MiB; never rejects. */
  get(path: string, question: MetadataQuestion): Promise<MetadataOutcome>;
  /** Ends the connections that are kept open. */
  close(): void;
}

const LIMIT_MS = 1000;
const MOST_CONNECTIONS = 16;
const MOST_QUESTIONS = 64;

const GIVEN_UP = metadataFailure('cancelled', 'the request was given up');

export function createMetadataClient({ endpoint, clock, limitMs = LIMIT_MS }: MetadataClientOptions): MetadataClient {
  const service = new URL(endpoint);
  const agent = new Agent({ keepAlive: true, maxSockets: MOST_CONNECTIONS, maxFreeSockets: 2 });
  const closing = new AbortController();
  let asked = 0;

  const ask = (question: Question, signal: AbortSignal): Promise<MetadataOutcome> =>
    exchange({ endpoint: service, agent, question, signal });

  const token = new SessionToken({
    clock,
    ask: (question) =>
      within(
        { clock, limitMs, signal: closing.signal },
        (signal) => ask(question, signal),
        () => GIVEN_UP,
      ),
  });

  const askWithToken = async (question: Question, signal: AbortSignal): Promise<MetadataOutcome> => {
    const held = await unlessAborted(token.get(), signal, () => GIVEN_UP);
    if (!held.ok) return held;
    const outcome = await ask(withToken(question, held.value), signal);
    if (!outcome.ok || outcome.answer.status !== 401) return outcome;
    token.discard(held.value);
    const renewed = await unlessAborted(token.get(), signal, () => GIVEN_UP);
    return renewed.ok ? ask(withToken(question, renewed.value), signal) : renewed;
  };

  return {
    get: async (path, { signal, query = '', headers = {} }) => {
      if (asked >= MOST_QUESTIONS)
        return metadataFailure('busy', 'too many requests to the metadata service are waiting');
      const question: Question = { method: 'GET', target: query === '' ? path : `${path}?${query}`, headers };
      asked += 1;
      try {
        const outcome = await within(
          { clock, limitMs, signal },
          (own) => askWithToken(question, own),
          () => GIVEN_UP,
        );
        // To a caller, a token request that timed out is the same as its own time being up.
        return outcome.ok || outcome.reason !== 'cancelled' || signal.aborted
          ? outcome
          : metadataFailure('timed out', `the metadata service did not answer within ${limitMs} ms`);
      } finally {
        asked -= 1;
      }
    },
    close: () => {
      closing.abort();
      agent.destroy();
    },
  };
}

function withToken(question: Question, token: string | undefined): Question {
  return token === undefined ? question : { ...question, headers: { ...question.headers, [TOKEN_HEADER]: token } };
}
