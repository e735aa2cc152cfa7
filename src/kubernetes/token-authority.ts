import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { describeError } from '#runtime/errors.ts';
import { oneLine, shortened } from '#runtime/text.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { KubernetesConnection } from './connection.ts';
import { field, isObject, listField, parseJson, textField } from './json-fields.ts';

/** How to recognise the cluster's tokens: the issuer, and the public keys as a JSON Web Key Set. */
export interface ClusterTokenKeys {
  readonly issuer: string;
  readonly jwks: string;
}

export interface TokenAuthorityOptions {
  readonly connection: Pick<KubernetesConnection, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** How often the keys are read: a new key must be known before pods have waited long for it. */
const READ_EVERY_MS = 10_000;

/**
 * How long a key counts that is no longer listed. While several API servers are restarted with another key one by one, some
 * list it and some do not.
 */
const KEPT_MS = 300_000;

const PATIENCE_MS = 5000;
const LONGEST_DOCUMENT = 256 * 1024;
const MOST_KEYS = 32;

/**
 * Reads the keys that verify the tokens of the cluster's ServiceAccounts, at intervals
 * (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery). RBAC:
 * the ClusterRole `system:service-account-issuer-discovery`. While they cannot be read, those that were read last count.
 */
export class TokenAuthorityReader {
  readonly #options: TokenAuthorityOptions;
  readonly #listeners = new Set<() => void>();
  /** The keys by their `kid`, and when each was listed last, in monotonic milliseconds. */
  readonly #keys = new Map<string, { readonly jwk: object; readonly listedMs: number }>();
  #current: ClusterTokenKeys | undefined;
  #problem: string | undefined;

  constructor(options: TokenAuthorityOptions) {
    this.#options = options;
  }

  /** Undefined until they have been read once. The same object for as long as they are the same. */
  get current(): ClusterTokenKeys | undefined {
    return this.#current;
  }

  /** Calls `listener` after a change. The returned function ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.#options;
    const backoff = createBackoff({ firstMs: 500, capMs: READ_EVERY_MS, random });
    while (!signal.aborted) {
      try {
        await this.#read(signal);
        if (this.#problem !== undefined) logger.info('the keys of ServiceAccounts’ tokens are read again');
        this.#problem = undefined;
        backoff.reset();
        await sleep(clock, READ_EVERY_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        const problem = describeError(error);
        if (problem !== this.#problem)
          logger.error('the keys of ServiceAccounts’ tokens cannot be read', { error: problem });
        this.#problem = problem;
        await sleep(clock, backoff.nextMs(), signal);
      }
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const issuer = textField(await this.#get('/.well-known/openid-configuration', signal), 'issuer');
    const keys = listField(await this.#get('/openid/v1/jwks', signal), 'keys').filter(isObject);
    if (issuer === '' || keys.length === 0) throw new Error('the API server names no issuer or no keys');
    const nowMs = this.#options.clock.monotonic();
    for (const jwk of keys.slice(0, MOST_KEYS)) this.#keys.set(textField(jwk, 'kid'), { jwk, listedMs: nowMs });
    for (const [kid, { listedMs }] of this.#keys) if (nowMs - listedMs > KEPT_MS) this.#keys.delete(kid);
    const kept = [...this.#keys].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, { jwk }]) => jwk);
    const jwks = JSON.stringify({ keys: kept });
    if (this.#current?.issuer === issuer && this.#current.jwks === jwks) return;
    this.#current = { issuer, jwks };
    for (const listener of this.#listeners) listener();
  }

  async #get(path: string, signal: AbortSignal): Promise<unknown> {
    const response = await this.#options.connection.request({
      method: 'GET',
      path,
      // The keys are `application/jwk-set+json`, and an API server refuses a request that accepts no such answer.
      accept: '*/*',
      headersWithinMs: PATIENCE_MS,
      silenceLimitMs: PATIENCE_MS,
      signal,
    });
    const text = await response.text(LONGEST_DOCUMENT);
    if (response.status !== 200) {
      throw new Error(
        `GET ${path} was answered ${response.status}: ${shortened(oneLine(textField(parseJson(text), 'message')), 200)}`,
      );
    }
    const document = parseJson(text);
    if (field(document, 'keys') === undefined && field(document, 'issuer') === undefined) {
      throw new Error(`GET ${path} was answered with something else`);
    }
    return document;
  }
}
