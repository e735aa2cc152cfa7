import { Agent, request } from 'node:https';

export interface ApiAnswer {
  readonly status: number;
  /** Parsed where it is JSON, as loosely as a test reads it. */
  // oxlint-disable-next-line typescript/no-explicit-any -- any field of any kind of object may be asked for
  readonly body: any;
}

/** The API of Kubernetes with one token, without a client library: the tests judge by what the API says itself. */
export interface ApiClient {
  /** Status 0 when there was no answer. */
  ask(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<ApiAnswer>;
  /** The same, and throws unless it was done. */
  demand(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<ApiAnswer['body']>;
}

const SOCKETS = 32;

export function createApiClient(options: { url: string; authorityPem: string; token: string }): ApiClient {
  const agent = new Agent({ keepAlive: true, maxSockets: SOCKETS, ca: options.authorityPem });
  const ask: ApiClient['ask'] = (method, path, body) =>
    new Promise((resolve) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${options.token}`,
        'content-type': method === 'PATCH' ? 'application/strategic-merge-patch+json' : 'application/json',
        'content-length': Buffer.byteLength(text),
      };
      const none = (error: Error): void => resolve({ status: 0, body: error.message });
      const outgoing = request(new URL(path, options.url), { agent, method, headers });
      outgoing.on('error', none);
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', none);
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, body: parsed(Buffer.concat(chunks).toString('utf8')) }),
        );
      });
      outgoing.end(text);
    });
  return {
    ask,
    demand: async (method, path, body) => {
      const answer = await ask(method, path, body);
      if (answer.status < 200 || answer.status > 299) {
        throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 500)}`);
      }
      return answer.body;
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
