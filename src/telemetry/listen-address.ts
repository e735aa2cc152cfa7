import { isIP, isIPv4 } from 'node:net';

/** Where to listen. `host` is `''` for all addresses of the machine, else a name or an IP address without brackets. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export type ListenAddressParsing =
  | { readonly ok: true; readonly address: ListenAddress }
  | { readonly ok: false; readonly reason: string };

const SPLIT = /^(?:\[([^\][]*)\]|([^:\][]*)):([^:]*)$/;
const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?$/;

/**
 * Reads `host:port` as Go's `net.Listen` takes it (https://pkg.go.dev/net#Listen): `:9620`, `localhost:9620`, `0.0.0.0:9620`,
 * `[::]:9620`. Port 0 leaves the choice to the kernel. Names of services instead of port numbers are refused.
 */
export function parseListenAddress(text: string): ListenAddressParsing {
  const parts = SPLIT.exec(text);
  if (parts === null) return { ok: false, reason: 'is not of the form host:port (an IPv6 address stands in brackets)' };
  const port = parsePort(parts[3] ?? '');
  if (port === undefined) return { ok: false, reason: 'has no port between 0 and 65535' };
  const bracketed = parts[1];
  if (bracketed !== undefined) {
    return isIP(bracketed) === 6
      ? { ok: true, address: { host: bracketed, port } }
      : { ok: false, reason: 'has something else than an IPv6 address in brackets' };
  }
  const host = parts[2] ?? '';
  if (host !== '' && !isHost(host)) return { ok: false, reason: 'names no host' };
  return { ok: true, address: { host, port } };
}

/** Whether a text could be an IP address or a DNS name. What looks like an IPv4 address must be one. */
export function isHost(text: string): boolean {
  return /^[\d.]+$/.test(text) ? isIPv4(text) : isIP(text) !== 0 || HOST_NAME.test(text);
}

/** A decimal port number from 0 to 65535. */
export function parsePort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/** Whether only this machine can reach what listens there. Other names than `localhost` may resolve to anything. */
export function isLoopbackHost(host: string): boolean {
  const address = /^::ffff:(.*)$/i.exec(host)?.[1] ?? host;
  return host === 'localhost' || address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** The address as it is written in flags and in messages: `:9620`, `127.0.0.1:9620`, `[::]:9620`. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
