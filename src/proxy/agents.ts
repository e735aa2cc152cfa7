import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { Agent, type AgentConnectOpts } from 'agent-base';
import { openTunnel } from './tunnel.ts';

/** The proxy that connections to a place go through; undefined for none. Never throws. */
export type ChooseProxy = (host: string, port: number) => URL | undefined;

export interface AgentOptions extends Pick<http.AgentOptions, 'keepAlive' | 'maxSockets'> {
  /** PEM of the authorities to trust. Node's own where it is left out. */
  readonly ca?: string | string[];
}

/** Provides TLS connections for requests, through the proxy that `chooseProxy` names. Its owner destroys it. */
export function createHttpsAgent(chooseProxy: ChooseProxy | undefined, options: AgentOptions): http.Agent {
  return chooseProxy === undefined ? new https.Agent(options) : new TunnelAgent(chooseProxy, true, options);
}

/**
 * As `createHttpsAgent`, for requests without TLS, which an HTTP proxy is asked for by their whole URL (RFC 9112, 3.2.2). Node
 * does that by itself.
 */
export function createHttpAgent(proxy: URL | undefined, options: AgentOptions): http.Agent {
  if (proxy === undefined) return new http.Agent(options);
  if (/^https?:$/.test(proxy.protocol)) return new http.Agent({ ...options, proxyEnv: { http_proxy: proxy.href } });
  return new TunnelAgent(() => proxy, false, options);
}

/**
 * Makes connections through tunnels. That a proxy refuses is an error of the request: https-proxy-agent would hand the proxy's
 * answer on as the server's, and a 404 of the API server means that a pod is gone.
 */
class TunnelAgent extends Agent {
  readonly #chooseProxy: ChooseProxy;
  readonly #isSecure: boolean;
  #trust: { readonly ca: string; readonly secureContext: tls.SecureContext } | undefined;

  constructor(chooseProxy: ChooseProxy, isSecure: boolean, options: AgentOptions) {
    super(options);
    this.#chooseProxy = chooseProxy;
    this.#isSecure = isSecure;
  }

  /** Without this it would look for https.js among the callers. */
  override isSecureEndpoint(): boolean {
    return this.#isSecure;
  }

  override async connect(_request: http.ClientRequest, options: AgentConnectOpts): Promise<Duplex> {
    const { host = 'localhost', port } = options;
    const proxy = this.#chooseProxy(host, port);
    if (!options.secureEndpoint) return proxy === undefined ? net.connect(options) : openTunnel({ proxy, host, port });
    if (proxy === undefined) return tls.connect(options);
    const secureContext = proxy.protocol === 'https:' ? this.#contextFor(options.ca) : undefined;
    return tls.connect({ ...options, socket: await openTunnel({ proxy, host, port, secureContext }) });
  }

  /**
   * An `https:` proxy may have a certificate of those who signed the server's, as in Go, or of those whom the system trusts,
   * which for the API server are not the same. A context of some 150 authorities takes milliseconds to make.
   */
  #contextFor(ca: tls.ConnectionOptions['ca']): tls.SecureContext {
    const own = [ca ?? []].flat().map(String);
    const key = own.join('\n');
    if (this.#trust?.ca !== key) {
      const secureContext = tls.createSecureContext({ ca: [...tls.getCACertificates('default'), ...own] });
      this.#trust = { ca: key, secureContext };
    }
    return this.#trust.secureContext;
  }
}
