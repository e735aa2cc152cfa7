import { describeError } from '#runtime/errors.ts';

import type { KubernetesConnection } from './connection.ts';
import { parseJson } from './json-fields.ts';
import { apiFailureOf } from './list.ts';

/** The present state of one object, read from the API server. */
export type Reading<T> =
  | { readonly kind: 'found'; readonly value: T }
  /** There is no such object. */
  | { readonly kind: 'gone' }
  /** It could not be asked, or its answer makes no sense. */
  | { readonly kind: 'unknown'; readonly reason: string };

export interface ReadOptions<T> {
  readonly connection: KubernetesConnection;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Undefined for what makes no sense. */
  readonly parse: (value: unknown) => T | undefined;
  readonly signal: AbortSignal;
}

const LIMIT_MS = 5000;
const LARGEST_ANSWER_BYTES = 8 * 1024 * 1024;

/**
 * Reads once. It sends no resourceVersion, so the answer is the latest state that the store holds
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list). It never rejects.
 */
export async function readObject<T>({ connection, path, query, parse, signal }: ReadOptions<T>): Promise<Reading<T>> {
  try {
    const response = await connection.request({
      method: 'GET',
      path,
      ...(query === undefined ? {} : { query }),
      headersWithinMs: LIMIT_MS,
      silenceLimitMs: LIMIT_MS,
      signal,
    });
    if (response.status !== 200) {
      const { status, message } = await apiFailureOf(response);
      return status === 404 ? { kind: 'gone' } : { kind: 'unknown', reason: `${status} ${message}` };
    }
    const value = parse(parseJson(await response.text(LARGEST_ANSWER_BYTES)));
    return value === undefined ? { kind: 'unknown', reason: 'the answer makes no sense' } : { kind: 'found', value };
  } catch (error) {
    return { kind: 'unknown', reason: describeError(error) };
  }
}
