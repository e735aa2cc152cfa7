import { Agent, request } from 'node:https';
import { isJsonObject, type JsonObject, parseJsonObject, textAt } from '#sandbox/json.ts';

export interface ApiAnswer {
  readonly status: number;
  readonly body: JsonObject;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface CallOptions {
  readonly body?: JsonObject | readonly JsonObject[];
  readonly headers?: Readonly<Record<string, string>>;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: JsonObject;
  readonly line: string;
}

export interface OpenWatch {
  readonly status: number;
  /** The next line as an event; `end` when the stream ended, `cut` when it broke. */
  next(): Promise<WatchEvent | 'end' | 'cut'>;
  close(): void;
}

export interface ApiClient {
  /** Rejects when there was no answer. */
  call(method: string, path: string, options?: CallOptions): Promise<ApiAnswer>;
  /** The same with the body as loosely as a test reads it; status 0 when there was no answer. A PATCH is a strategic merge. */
  ask(method: Method, path: string, body?: JsonObject): Promise<{ readonly status: number; readonly body: LooseBody }>;
  /** The body alone; throws unless it was done. */
  demand(method: Method, path: string, body?: JsonObject): Promise<LooseBody>;
  watch(path: string): Promise<OpenWatch>;
  close(): void;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
// oxlint-disable-next-line typescript/no-explicit-any -- any field of any kind of object may be asked for
type LooseBody = any;

const SOCKETS = 32;

/** A client that does nothing but what a test tells it, from a kubeconfig in JSON: the tests judge by what the API says itself. */
export function apiClient(kubeconfig: string): ApiClient {
  const config = parseJsonObject(kubeconfig) ?? {};
  const server = textAt(config, 'clusters', 0, 'cluster', 'server');
  const user = (name: string): string => textAt(config, 'users', 0, 'user', name);
  const decode = (text: string): string => Buffer.from(text, 'base64').toString();
  const agent = new Agent({
    keepAlive: true,
    maxSockets: SOCKETS,
    ca: decode(textAt(config, 'clusters', 0, 'cluster', 'certificate-authority-data')),
    ...(user('client-certificate-data') === ''
      ? {}
      : { cert: decode(user('client-certificate-data')), key: decode(user('client-key-data')) }),
  });
  const authorization: Record<string, string> =
    user('token') === '' ? {} : { authorization: `Bearer ${user('token')}` };
  const call: ApiClient['call'] = (method, path, { body, headers = {} } = {}) =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const outgoing = request(server + path, {
        method,
        agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          ...authorization,
          ...headers,
        },
      });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const parsed = parseJsonObject(Buffer.concat(chunks).toString());
          resolve({ status: response.statusCode ?? 0, body: parsed ?? {}, headers: response.headers });
        });
      });
      outgoing.end(text);
    });
  const ask: ApiClient['ask'] = async (method, path, body) => {
    const headers = method === 'PATCH' ? { 'content-type': 'application/strategic-merge-patch+json' } : {};
    try {
      return await call(method, path, body === undefined ? { headers } : { body, headers });
    } catch (error) {
      return { status: 0, body: String(error) };
    }
  };
  return {
    call,
    ask,
    demand: async (method, path, body) => {
      const answer = await ask(method, path, body);
      if (answer.status >= 200 && answer.status <= 299) return answer.body;
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 500)}`);
    },
    watch: (path) =>
      new Promise((resolve, reject) => {
        const outgoing = request(server + path, { agent, headers: authorization });
        outgoing.on('error', reject);
        outgoing.on('response', (response) => {
          const events: (WatchEvent | 'end' | 'cut')[] = [];
          const waiting: ((event: WatchEvent | 'end' | 'cut') => void)[] = [];
          const push = (event: WatchEvent | 'end' | 'cut'): void => {
            const waiter = waiting.shift();
            if (waiter === undefined) events.push(event);
            else waiter(event);
          };
          let rest = '';
          const line = (text: string): void => {
            const parsed = parseJsonObject(text);
            const object = parsed?.['object'];
            push({ type: textAt(parsed, 'type'), object: isJsonObject(object) ? object : {}, line: text });
          };
          const over = (how: 'end' | 'cut'): void => {
            if (rest !== '') line(rest);
            push(how);
          };
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            const lines = (rest + chunk).split('\n');
            rest = lines.pop() ?? '';
            lines.forEach(line);
          });
          response.on('error', () => over('cut'));
          response.on('end', () => over('end'));
          resolve({
            status: response.statusCode ?? 0,
            next: () => {
              const event = events.shift();
              return event === undefined ? new Promise((wake) => waiting.push(wake)) : Promise.resolve(event);
            },
            close: () => outgoing.destroy(),
          });
        });
        outgoing.end();
      }),
    close: () => agent.destroy(),
  };
}
