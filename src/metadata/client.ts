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
  /**
   * Whether a service that does not answer the request for a token in half of that time is read without one, as Kiam's SDK does.
   * Default false: then it counts as one that does not answer.
   */
  readonly readsWithoutToken?: boolean;
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
const NO_TOKEN = metadataFailure(
  'no token',
  'the metadata service demands a token (HttpTokens=required), and its answer to the request for one does not arrive: ' +
    'its hop limit is 1, and this container is one hop further',
);

export function createMetadataClient(options: MetadataClientOptions): MetadataClient {
  const { endpoint, clock, limitMs = LIMIT_MS, readsWithoutToken = false } = options;
  const service = new URL(endpoint);
  const agent = new Agent({ keepAlive: true, maxSockets: MOST_CONNECTIONS, maxFreeSockets: 2 });
  const closing = new AbortController();
  let asked = 0;

  const tokenLimitMs = readsWithoutToken ? limitMs / 2 : limitMs;

  const ask = (question: Question, signal: AbortSignal): Promise<MetadataOutcome> =>
    exchange({ endpoint: service, agent, question, signal });

  const token = new SessionToken({
    clock,
    readsWithoutToken,
    ask: (question) =>
      within(
        { clock, limitMs: tokenLimitMs, signal: closing.signal },
        (signal) => ask(question, signal),
        () => (closing.signal.aborted ? GIVEN_UP : tooLate(tokenLimitMs)),
      ),
  });

  const askWithToken = async (question: Question, signal: AbortSignal): Promise<MetadataOutcome> => {
    const held = await unlessAborted(token.get(), signal, () => GIVEN_UP);
    if (!held.ok) return held;
    const outcome = await ask(withToken(question, held.value), signal);
    if (!outcome.ok || outcome.answer.status !== 401) return outcome;
    token.discard(held.value);
    if (held.isUnanswered) return NO_TOKEN;
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
        return outcome.ok || outcome.reason !== 'cancelled' || signal.aborted ? outcome : tooLate(limitMs);
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

function tooLate(limitMs: number): MetadataOutcome {
  return metadataFailure('timed out', `the metadata service did not answer within ${limitMs} ms`);
}

function withToken(question: Question, token: string | undefined): Question {
  return token === undefined ? question : { ...question, headers: { ...question.headers, [TOKEN_HEADER]: token } };
}
