import http from 'node:http';
import https from 'node:https';
import type { Environment } from '#runtime/environment.ts';
import { createHttpAgent, createHttpsAgent } from '#proxy/agents.ts';
import { createProxyOf, type ProxyOf } from '#proxy/rules.ts';
import type { Clock } from '#runtime/clock.ts';
import { unlessAborted } from '#runtime/within.ts';
import { SilenceError, limitSilence, readText } from './body.ts';
import { createExecCredentialSource } from './exec-plugin.ts';
import { type NamedApiServer, loadClusterConfig, type ClusterConfig } from './kubeconfig.ts';
import { createTokenFiles } from './token-file.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH';
  /** The path of the API, without the prefix that the cluster's URL may carry. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly contentType?: string;
  /** The type of the answer; JSON unless given. */
  readonly accept?: string;
  /** How long until the answer's headers are here. */
  readonly headersWithinMs: number;
  /** How long the answer's body may be silent. */
  readonly silenceLimitMs: number;
  /** Uses a connection of its own, closed afterwards. Default: an idle one where there is one. */
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

/** The most connections at a time, those of the watches among them. */
const MOST_SOCKETS = 64;

/** Makes requests to the API server with the credentials of the kubeconfig or of the service account. */
export interface KubernetesConnection {
  /** `https://10.0.0.1:443`, for log lines. */
  readonly server: string;
  /** Resolves when the headers are here, whatever the status. Rejects when the server cannot be reached or `signal` aborts. */
  request(request: ApiRequest): Promise<ApiResponse>;
  /** Reads the kubeconfig and the credentials again, for when the API server no longer accepts them. */
  renewCredentials(): void;
  /** Closes the idle connections: once one is found half-open, the others probably are too. */
  dropIdleConnections(): void;
  close(): void;
}

export interface ConnectionOptions {
  /** A kubeconfig's path, as `--kubeconfig`; `''` for the service account that a pod in the cluster has. */
  readonly kubeconfig: string;
  /** The API server, where flags name it, and whether to verify its certificate. */
  readonly named?: NamedApiServer | undefined;
  readonly clock: Clock;
  /** The process's own: says which proxy, and is what a credential plugin inherits. */
  readonly environment: Environment;
}

/**
 * Prepares requests to the API server; none is made yet. Throws an Error that says why when there is no usable configuration.
 * Certificates are read for every request, token files once a minute, and a credential plugin is run when what it gave has
 * expired. `proxy-url` of the cluster or the environment says through which proxy.
 */
export function createConnection({ kubeconfig, named, clock, environment }: ConnectionOptions): KubernetesConnection {
  const proxyOf = createProxyOf(environment);
  const tokenFiles = createTokenFiles(clock);
  const plugin = createExecCredentialSource({ clock, environment });
  const load = (): ClusterConfig => loadClusterConfig(kubeconfig, named);
  let way = openWay(load(), proxyOf);

  const optionsOf = async (request: ApiRequest, { config, agents }: Way): Promise<https.RequestOptions> => {
    const { accept = 'application/json' } = request;
    const headers: http.OutgoingHttpHeaders = { accept, 'user-agent': 'kiam', ...config.headers };
    if (request.contentType !== undefined) headers['content-type'] = request.contentType;
    if (request.body !== undefined) headers['content-length'] = Buffer.byteLength(request.body);
    const options: https.RequestOptions = { headers };
    await config.kubeConfig.applyToHTTPSOptions(options);
    const given = config.exec === undefined ? undefined : await plugin.get(config.exec);
    const token = config.tokenFile === undefined ? given?.token : tokenFiles.read(config.tokenFile);
    if (token !== undefined) headers['Authorization'] = `Bearer ${token}`;
    const { Authorization: authorization } = headers;
    // A token may end with a line feed, which node:http refuses to send.
    if (typeof authorization === 'string') headers['Authorization'] = authorization.trim();
    return {
      ...options,
      ...(given?.certificate === undefined
        ? {}
        : { cert: given.certificate.certificatePem, key: given.certificate.keyPem }),
      // client-node's own agent keeps the certificates that it was made with, and keeps no connection alive.
      agent: request.newConnection === true ? agents.once : agents.kept,
      method: request.method,
      signal: request.signal,
    };
  };

  return {
    server: way.config.url.origin,
    request: async (request) => {
      request.signal.throwIfAborted();
      const present = way;
      // Credentials may come from a child process that never ends (an `exec` plugin of the kubeconfig).
      const options = await unlessAborted(optionsOf(request, present), request.signal, () => {
        throw new Error('aborted');
      });
      return send(urlOf(present.config.url, request), options, request, clock);
    },
    renewCredentials: () => {
      tokenFiles.forget();
      plugin.forget();
      way = renewed(way, load, proxyOf);
    },
    dropIdleConnections: () => {
      for (const sockets of Object.values(way.agents.kept.freeSockets)) sockets?.forEach((socket) => socket.destroy());
    },
    close: () => closeWay(way),
  };
}

interface Way {
  readonly config: ClusterConfig;
  readonly proxy: URL | undefined;
  readonly agents: { readonly kept: http.Agent; readonly once: http.Agent };
}

function openWay(config: ClusterConfig, proxyOf: ProxyOf): Way {
  const proxy = config.proxy ?? proxyOf(config.url);
  const create = (keepAlive: boolean): http.Agent => {
    const options = { keepAlive, maxSockets: MOST_SOCKETS };
    if (config.url.protocol === 'http:') return createHttpAgent(proxy, options);
    return createHttpsAgent(proxy && (() => proxy), options);
  };
  return { config, proxy, agents: { kept: create(true), once: create(false) } };
}

function closeWay({ agents }: Way): void {
  agents.kept.destroy();
  agents.once.destroy();
}

/** A file that is being written at this moment must not replace what works. */
function renewed(way: Way, load: () => ClusterConfig, proxyOf: ProxyOf): Way {
  try {
    const config = load();
    const next = openWay(config, proxyOf);
    const isSame = config.url.protocol === way.config.url.protocol && next.proxy?.href === way.proxy?.href;
    closeWay(isSame ? next : way);
    return isSame ? { ...way, config } : next;
  } catch {
    return way;
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
    const end = (error: Error): void => {
      request.destroy(error);
      // A request that still waits for its connection emits nothing when it is destroyed.
      reject(error);
      settle();
    };
    const onAbort = (): void => end(new Error('aborted'));
    const cancel = clock.after(wanted.headersWithinMs, () => {
      end(new SilenceError(`no answer within ${wanted.headersWithinMs} ms`));
    });
    const settle = (): void => {
      cancel();
      wanted.signal.removeEventListener('abort', onAbort);
    };
    wanted.signal.addEventListener('abort', onAbort, { once: true });
    // These listeners stay: a connection may fail again after its first failure.
    request.on('error', (error) => {
      settle();
      reject(error);
    });
    request.on('response', (response) => {
      settle();
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
