import http from 'node:http';
import https from 'node:https';
import { isIP, isIPv6, type Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { SocksClient } from 'socks';

import { describeError } from '#runtime/errors.ts';

export interface TunnelOptions {
  readonly proxy: URL;
  readonly host: string;
  readonly port: number;
  /** Whom to trust, for an `https:` proxy. */
  readonly secureContext?: SecureContext | undefined;
}

/** A proxy in the same network answers in milliseconds; it may have to resolve a name and connect. */
const CONNECTED_WITHIN_MS = 10_000;

/**
 * A connection to `host` through the proxy: by CONNECT (RFC 9110, 9.3.6) for `http:` and `https:` proxies, by SOCKS 5 with the
 * name resolved by the proxy, as Go does, for `socks5:` and `socks5h:`. User and password of the proxy's URL are shown to it and
 * to nobody else. Rejects with an Error that names the proxy, after 10 s at the latest.
 */
export function openTunnel(options: TunnelOptions): Promise<Socket> {
  const { protocol, host } = options.proxy;
  switch (protocol) {
    case 'http:':
    case 'https:':
      return openByConnect(options);
    case 'socks5:':
    case 'socks5h:':
      return openBySocks(options);
    default:
      return Promise.reject(new Error(`the proxy ${protocol}//${host} is of a kind that is not supported`));
  }
}

function openByConnect({ proxy, host, port, secureContext }: TunnelOptions): Promise<Socket> {
  const target = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const proxyHost = hostOf(proxy);
  const isSecure = proxy.protocol === 'https:';
  const options: https.RequestOptions = {
    method: 'CONNECT',
    host: proxyHost,
    port: proxy.port || (isSecure ? 443 : 80),
    path: target,
    headers: { host: target, ...authorization(proxy) },
    agent: false,
    timeout: CONNECTED_WITHIN_MS,
    ...(isSecure && isIP(proxyHost) === 0 ? { servername: proxyHost } : {}),
    ...(secureContext === undefined ? {} : { secureContext }),
  };
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new Error(`the proxy ${proxy.host} ${reason}`));
    const request = (isSecure ? https : http).request(options);
    // The listener stays: a connection may fail again after its first failure.
    request.on('error', (error) => fail(`cannot be used: ${error.message}`));
    request.on('timeout', () => {
      fail(`does not connect to ${target} within ${CONNECTED_WITHIN_MS} ms`);
      request.destroy();
    });
    request.on('connect', ({ statusCode, statusMessage }, socket: Socket) => {
      socket.setTimeout(0);
      if (statusCode === 200) resolve(socket);
      else {
        socket.destroy();
        fail(`refuses to connect to ${target}: ${statusCode} ${statusMessage}`);
      }
    });
    request.end();
  });
}

async function openBySocks({ proxy, host, port }: TunnelOptions): Promise<Socket> {
  const { username, password } = userOf(proxy);
  try {
    const { socket } = await SocksClient.createConnection({
      proxy: {
        host: hostOf(proxy),
        port: Number(proxy.port || 1080),
        type: 5,
        ...(username === '' ? {} : { userId: username, password }),
      },
      command: 'connect',
      destination: { host, port },
      timeout: CONNECTED_WITHIN_MS,
    });
    return socket;
  } catch (error) {
    throw new Error(`the proxy ${proxy.host} cannot be used: ${describeError(error)}`, {
      cause: error,
    });
  }
}

function authorization(proxy: URL): http.OutgoingHttpHeaders {
  const { username, password } = userOf(proxy);
  if (username === '' && password === '') return {};
  return { 'proxy-authorization': `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

function userOf({ username, password }: URL): { readonly username: string; readonly password: string } {
  return { username: decoded(username), password: decoded(password) };
}

/** A lone `%` stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
