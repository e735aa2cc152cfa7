import http from 'node:http';
import https from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '#runtime/clock.ts';
import { SilenceError, limitSilence, readText } from './body.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH';
  /** The path of the API, without the prefix that the cluster's URL may carry. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly contentType?: string;
  /** How long until the answer's headers are here. */
  readonly headersWithinMs: number;
  /** How long the answer's body may be silent. */
  readonly silenceLimitMs: number;
  /** Over a connection that is opened for it and closed after it. Default: one that is kept open, where there is one. */
  readonly newConnection?: boolean;
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  /** `Retry-After` in milliseconds, where it gives seconds. */
  readonly retryAfterMs: number | undefined;
  /** `Date` as the API server wrote it. */
  readonly date: string | undefined;
  /** The body as it comes; throws when it breaks off or is silent for too long. Leaving it early closes the connection. */
  chunks(): AsyncIterable<Buffer>;
  /** The whole body; throws as `chunks` does, and when it is longer than `limitBytes`. */
  text(limitBytes: number): Promise<string>;
}

/** A crowd of new pods is asked about over so many connections at most, the two of the watches among them. */
const MOST_SOCKETS = 64;

/** The way to the API server: requests with the credentials of the kubeconfig or of the service account. */
export interface KubernetesConnection {
  /** `https://10.0.0.1:443`, for log lines. */
  readonly server: string;
  /** Resolves when the headers are here, whatever the status. Rejects when the server cannot be reached or `signal` aborts. */
  request(request: ApiRequest): Promise<ApiResponse>;
  /** Reads the kubeconfig and the credentials anew; for the moment when the API server no longer takes them. */
  renewCredentials(): void;
  /** Closes the connections that wait for use: after a half-open one was found, the others are no better. */
  dropIdleConnections(): void;
  close(): void;
}

export interface ConnectionOptions {
  /** A kubeconfig's path, as `--kubeconfig`; `''` for the service account that a pod in the cluster has. */
  readonly kubeconfig: string;
  readonly clock: Clock;
}

/**
 * Opens the way to the API server; no request is made yet. Throws an Error that says why when there is no usable
 * configuration. Credentials are read as client-node reads them: certificates at every request, token files once a minute.
 */
export function createConnection({ kubeconfig, clock }: ConnectionOptions): KubernetesConnection {
  let config = loadConfig(kubeconfig);
  const sockets = { keepAlive: true, maxSockets: MOST_SOCKETS } as const;
  const agents = { http: new http.Agent(sockets), https: new https.Agent(sockets) };

  const optionsOf = async (request: ApiRequest): Promise<https.RequestOptions> => {
    const headers: http.OutgoingHttpHeaders = { accept: 'application/json', 'user-agent': 'kiam' };
    if (request.contentType !== undefined) headers['content-type'] = request.contentType;
    if (request.body !== undefined) headers['content-length'] = Buffer.byteLength(request.body);
    const options: https.RequestOptions = { headers };
    await config.kubeConfig.applyToHTTPSOptions(options);
    // Token files often end with a line feed, which node:http refuses to send.
    const { Authorization: authorization } = headers;
    if (typeof authorization === 'string') headers['Authorization'] = authorization.trim();
    // client-node's own agent keeps the certificates that it was made with, and keeps no connection alive.
    if (!config.proxied) options.agent = config.url.protocol === 'http:' ? agents.http : agents.https;
    if (!config.proxied && request.newConnection === true) options.agent = false;
    return { ...options, method: request.method, signal: request.signal };
  };

  return {
    server: config.url.origin,
    request: async (request) => {
      request.signal.throwIfAborted();
      const options = await untilAborted(optionsOf(request), request.signal);
      return send(urlOf(config.url, request), options, request, clock);
    },
    renewCredentials: () => {
      config = reloadConfig(kubeconfig, config);
    },
    dropIdleConnections: () => {
      for (const agent of [agents.http, agents.https]) {
        for (const sockets of Object.values(agent.freeSockets)) sockets?.forEach((socket) => socket.destroy());
      }
    },
    close: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

interface Config {
  readonly kubeConfig: KubeConfig;
  readonly url: URL;
  readonly proxied: boolean;
}

function loadConfig(kubeconfig: string): Config {
  const kubeConfig = new KubeConfig();
  if (kubeconfig === '') kubeConfig.loadFromCluster();
  else kubeConfig.loadFromFile(kubeconfig);
  const cluster = kubeConfig.getCurrentCluster();
  const user = kubeConfig.getCurrentUser();
  if (cluster === null || !URL.canParse(cluster.server) || cluster.server.includes('//undefined')) {
    throw new Error(
      kubeconfig === ''
        ? 'this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig'
        : `${kubeconfig} names no cluster with a valid server in its current context`,
    );
  }
  const url = new URL(cluster.server);
  // client-node refuses plain http unless TLS verification is off, which says nothing there. kubectl does not refuse it.
  if (url.protocol === 'http:') {
    const plain = { ...cluster, skipTLSVerify: true };
    kubeConfig.loadFromClusterAndUser(plain, user ?? { name: 'nobody' });
  }
  return { kubeConfig, url, proxied: typeof cluster.proxyUrl === 'string' && cluster.proxyUrl !== '' };
}

/** A file that is being written just now is no reason to lose what works. */
function reloadConfig(kubeconfig: string, current: Config): Config {
  try {
    return loadConfig(kubeconfig);
  } catch {
    return current;
  }
}

function urlOf(server: URL, { path, query }: ApiRequest): URL {
  const url = new URL(server);
  url.pathname = server.pathname.replace(/\/+$/, '') + path;
  url.search = new URLSearchParams(query).toString();
  return url;
}

function send(url: URL, options: https.RequestOptions, wanted: ApiRequest, clock: Clock): Promise<ApiResponse> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'http:' ? http : https).request(url, options);
    const cancel = clock.after(wanted.headersWithinMs, () => {
      request.destroy(new SilenceError(`no answer within ${wanted.headersWithinMs} ms`));
    });
    // These listeners stay: a connection may fail again after its failure was told.
    request.on('error', (error) => {
      cancel();
      reject(error);
    });
    request.on('response', (response) => {
      cancel();
      response.on('error', () => {});
      const chunks = (): AsyncIterable<Buffer> => limitSilence(response, clock, wanted.silenceLimitMs);
      resolve({
        status: response.statusCode ?? 0,
        retryAfterMs: retryAfterMs(response.headers['retry-after']),
        date: response.headers.date,
        chunks,
        text: (limitBytes) => readText(chunks(), limitBytes),
      });
    });
    request.end(wanted.body);
  });
}

function retryAfterMs(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,4}$/.test(header) ? Number(header) * 1000 : undefined;
}

/** Credentials may come from a child process that never ends (an `exec` plugin of the kubeconfig). */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error('aborted'));
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
