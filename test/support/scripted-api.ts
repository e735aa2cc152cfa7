import { PassThrough } from 'node:stream';
import { limitSilence, readText, SilenceError } from '#kubernetes/body.ts';
import type { ApiRequest, ApiResponse, KubernetesConnection } from '#kubernetes/connection.ts';
import type { ManualClock } from './manual-clock.ts';
import { until } from './until.ts';

/** A request that waits for the test to answer it. */
export interface PendingCall {
  readonly request: ApiRequest;
  /** Answers with headers and a whole body. */
  answer(status: number, body: unknown, retryAfterMs?: number): void;
  /** Answers 200 and leaves the body open. */
  open(): OpenBody;
  refuse(error: Error): void;
}

export interface OpenBody {
  write(bytes: string | Buffer): void;
  /** One line of a watch. */
  event(type: string, object: unknown): void;
  end(): void;
  break(error: Error): void;
  readonly closed: boolean;
}

export interface ScriptedApi extends KubernetesConnection {
  /** The next list (a page that is no confirming read), confirming read, watch or other request that nobody took yet. */
  next(kind: CallKind, path?: string): Promise<PendingCall>;
  /** Whether `next` would return at once. */
  isWaiting(kind: CallKind, path?: string): boolean;
  /** What a confirming read is answered at once; undefined leaves it to the test. */
  currentVersion: string | undefined;
  readonly calls: { readonly kind: CallKind; readonly request: ApiRequest }[];
  readonly renewals: () => number;
  /** How often the idle connections were dropped. */
  readonly drops: () => number;
}

export type CallKind = 'list' | 'watch' | 'confirm' | 'other';

/** An API server without sockets: the test sees each request and says what comes back, byte by byte where it matters. */
export function scriptedApi(clock: ManualClock): ScriptedApi {
  const waiting: { kind: CallKind; call: PendingCall }[] = [];
  const calls: ScriptedApi['calls'] = [];
  let renewals = 0;
  let drops = 0;
  const api: ScriptedApi = {
    server: 'https://192.0.2.10',
    currentVersion: undefined,
    calls,
    renewals: () => renewals,
    renewCredentials: () => {
      renewals += 1;
    },
    drops: () => drops,
    dropIdleConnections: () => {
      drops += 1;
    },
    close: () => {},
    request: (request) =>
      new Promise<ApiResponse>((resolve, reject) => {
        request.signal.throwIfAborted();
        request.signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
        const cancel = clock.after(request.headersWithinMs, () => {
          reject(new SilenceError(`no answer within ${request.headersWithinMs} ms`));
        });
        const kind = kindOf(request);
        calls.push({ kind, request });
        const answered = (response: ApiResponse): void => {
          cancel();
          resolve(response);
        };
        const call = pendingCall({ clock, request, resolve: answered, reject });
        if (kind !== 'confirm' || api.currentVersion === undefined) waiting.push({ kind, call });
        else call.answer(200, listOf(api.currentVersion, []));
      }),
    isWaiting: (wanted, path) => waiting.some(isWanted(wanted, path)),
    next: async (wanted, path) => {
      await until(() => api.isWaiting(wanted, path), `a ${wanted} request`);
      const index = waiting.findIndex(isWanted(wanted, path));
      const [found] = waiting.splice(index, 1);
      if (found === undefined) throw new Error('unreachable');
      return found.call;
    },
  };
  return api;
}

export function listOf(resourceVersion: string, items: readonly unknown[], continueToken = ''): unknown {
  return { kind: 'List', metadata: { resourceVersion, continue: continueToken }, items };
}

function isWanted(wanted: CallKind, path: string | undefined) {
  return ({ kind, call }: { readonly kind: CallKind; readonly call: PendingCall }): boolean =>
    kind === wanted && (path === undefined || call.request.path === path);
}

interface PendingOptions {
  readonly clock: ManualClock;
  readonly request: ApiRequest;
  readonly resolve: (response: ApiResponse) => void;
  readonly reject: (error: Error) => void;
}

function pendingCall({ clock, request, resolve, reject }: PendingOptions): PendingCall {
  const respond = (status: number, retryAfterMs?: number): PassThrough => {
    const body = new PassThrough({ highWaterMark: 1 << 24 });
    body.on('error', () => {});
    request.signal.addEventListener('abort', () => body.destroy(new Error('aborted')), { once: true });
    const chunks = (): AsyncIterable<Buffer> => limitSilence(body, clock, request.silenceLimitMs);
    resolve({ status, retryAfterMs, date: undefined, chunks, text: (limitBytes) => readText(chunks(), limitBytes) });
    return body;
  };
  return {
    request,
    refuse: reject,
    answer: (status, body, retryAfterMs) => {
      respond(status, retryAfterMs).end(typeof body === 'string' ? body : JSON.stringify(body));
    },
    open: () => {
      const body = respond(200);
      return {
        write: (bytes) => body.write(bytes),
        event: (type, object) => body.write(`${JSON.stringify({ type, object })}\n`),
        end: () => body.end(),
        break: (error) => body.destroy(error),
        get closed() {
          return body.destroyed;
        },
      };
    },
  };
}

function kindOf({ method, query }: ApiRequest): CallKind {
  if (method !== 'GET' || query === undefined) return 'other';
  if (query['watch'] === 'true') return 'watch';
  return query['limit'] === '1' ? 'confirm' : 'list';
}
