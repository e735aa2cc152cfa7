import { request } from 'node:http';

import type { Clock } from '#runtime/clock.ts';
import { startDeadline } from '#runtime/within.ts';

export interface HttpPlace {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface HttpQuestion extends HttpPlace {
  readonly path: string;
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  /** In milliseconds; default 2 s. */
  readonly limitMs?: number;
}

export type HttpAnswer =
  | {
      readonly ok: true;
      readonly status: number;
      readonly body: string;
      readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
    }
  | { readonly ok: false; readonly reason: string };

const LIMIT_MS = 2000;
/** Metrics of a large cluster come to some hundred KiB. */
const LONGEST_BODY = 4 * 1024 * 1024;

/** One plain HTTP request, as a pod would make it. Redirects are not followed. Never rejects. */
export function askHttp(question: HttpQuestion): Promise<HttpAnswer> {
  const { host, port, path, method = 'GET', headers = {}, limitMs = LIMIT_MS } = question;
  const deadline = startDeadline(question.clock, limitMs, question.signal);
  const { signal } = deadline;
  return new Promise<HttpAnswer>((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void =>
      resolve({ ok: false, reason: signal.aborted ? `no answer within ${limitMs} ms` : (error.code ?? error.message) });
    const outgoing = request({ host, port, path, method, headers, agent: false, signal }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (text: string) => {
        if (body.length < LONGEST_BODY) body += text;
      });
      incoming.on('error', fail);
      incoming.on('end', () =>
        resolve({ ok: true, status: incoming.statusCode ?? 0, body, headers: incoming.headers }),
      );
    });
    outgoing.on('error', fail);
    outgoing.end();
  }).finally(() => deadline.clear());
}

/** Where an endpoint such as `http://169.254.169.254` is. */
export function placeOf(endpoint: string, { clock, signal }: Pick<HttpPlace, 'clock' | 'signal'>): HttpPlace {
  const { hostname, port } = new URL(endpoint);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80), clock, signal };
}
