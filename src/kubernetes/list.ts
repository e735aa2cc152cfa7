import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ApiResponse, KubernetesConnection } from './connection.ts';
import { field, isObject, parseJson, textField } from './json-fields.ts';
import { statusMessage } from './watch-event.ts';

/** Why a request to the API server failed. `status` is undefined when there was no answer. */
export interface ApiFailure {
  readonly status: number | undefined;
  readonly message: string;
  readonly retryAfterMs: number | undefined;
}

export type ListOutcome<R> =
  | {
      readonly kind: 'listed';
      readonly records: readonly R[];
      readonly resourceVersion: string;
      readonly refused: number;
    }
  /** The list's snapshot was compacted away between two pages: it must be begun again. */
  | { readonly kind: 'expired' }
  | { readonly kind: 'failed'; readonly failure: ApiFailure };

export interface ListOptions<R> {
  readonly connection: KubernetesConnection;
  readonly path: string;
  /** Selects some of the objects. */
  readonly query?: Readonly<Record<string, string>> | undefined;
  /** Undefined for what cannot be read: it is left out and counted. */
  readonly parse: (value: unknown) => R | undefined;
  readonly signal: AbortSignal;
}

/** Kubernetes' own clients take pages of 500. */
const LARGEST_PAGE = 500;
const SMALLEST_PAGE = 25;
const FIRST_PAGE = 100;
/** Parsing 2 MiB takes about 20 ms; pages are sized by what the objects of the last one weighed. */
const PAGE_BYTES = 2 * 1024 * 1024;
const LARGEST_ANSWER_BYTES = 256 * 1024 * 1024;
/** The API server itself may queue a request for a quarter of a minute (API priority and fairness). */
const HEADERS_WITHIN_MS = 30_000;
const SILENCE_LIMIT_MS = 9_000;

/** Reads a complete, consistent list in pages. Rejects when the server cannot be reached or `signal` aborts. */
export async function listAll<R>({
  connection,
  path,
  query: selection,
  parse,
  signal,
}: ListOptions<R>): Promise<ListOutcome<R>> {
  const records: R[] = [];
  let refused = 0;
  let limit = FIRST_PAGE;
  let continueToken = '';
  let resourceVersion: string | undefined;
  for (;;) {
    const query = { ...selection, limit: String(limit), ...(continueToken === '' ? {} : { continue: continueToken }) };
    const response = await connection.request({
      method: 'GET',
      path,
      query,
      headersWithinMs: HEADERS_WITHIN_MS,
      silenceLimitMs: SILENCE_LIMIT_MS,
      signal,
    });
    if (response.status === 410 && continueToken !== '') return drained(response, { kind: 'expired' });
    if (response.status !== 200) return { kind: 'failed', failure: await apiFailureOf(response) };
    const text = await response.text(LARGEST_ANSWER_BYTES);
    const page = parsePage(parseJson(text));
    if (page === undefined) return { kind: 'failed', failure: notAList(text) };
    // All pages of a list have one resource version; another one would mix two states.
    if (resourceVersion !== undefined && page.resourceVersion !== resourceVersion) return { kind: 'expired' };
    resourceVersion = page.resourceVersion;
    for (const item of page.items) {
      const record = parse(item);
      if (record === undefined) refused += 1;
      else records.push(record);
    }
    if (page.continueToken === '') return { kind: 'listed', records, resourceVersion, refused };
    if (page.continueToken === continueToken)
      return { kind: 'failed', failure: notAList('a list that goes in circles') };
    continueToken = page.continueToken;
    limit = nextLimit(limit, Buffer.byteLength(text));
    await nextTurn();
  }
}

/** Reads the refusing answer's text, as far as it goes. */
export async function apiFailureOf(response: ApiResponse): Promise<ApiFailure> {
  const { status, retryAfterMs } = response;
  try {
    return { status, retryAfterMs, message: statusMessage(await response.text(64 * 1024)) };
  } catch {
    return { status, retryAfterMs, message: '' };
  }
}

async function drained<T>(response: ApiResponse, outcome: T): Promise<T> {
  await apiFailureOf(response);
  return outcome;
}

interface Page {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  readonly continueToken: string;
}

function parsePage(value: unknown): Page | undefined {
  const metadata = field(value, 'metadata');
  const items: unknown = field(value, 'items');
  const resourceVersion = textField(metadata, 'resourceVersion');
  if (!isObject(metadata) || resourceVersion === '') return undefined;
  // Go writes an empty list as null.
  if (items !== null && !Array.isArray(items)) return undefined;
  return { items: items ?? [], resourceVersion, continueToken: textField(metadata, 'continue') };
}

function notAList(text: string): ApiFailure {
  return {
    status: 200,
    retryAfterMs: undefined,
    message: `the answer is no list: ${statusMessage(text).slice(0, 80)}`,
  };
}

function nextLimit(limit: number, bytes: number): number {
  const fitting = Math.floor((limit * PAGE_BYTES) / Math.max(bytes, 1));
  return Math.min(LARGEST_PAGE, Math.max(SMALLEST_PAGE, fitting));
}
