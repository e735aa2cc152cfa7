import type { Environment } from '#runtime/environment.ts';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';

/** What of a request's URL decides whether it goes through a proxy. `hostname` as in a `URL`: IPv6 addresses in brackets. */
export type ProxyTarget = Pick<URL, 'protocol' | 'hostname' | 'port'>;

/** The proxy that a request goes through; undefined for none. Never throws. */
export type ProxyOf = (target: ProxyTarget) => URL | undefined;

/** Whether the environment names a proxy at all. */
export function namesProxy(environment: Environment): boolean {
  return ['HTTP_PROXY', 'HTTPS_PROXY'].some((name) => read(environment, name) !== '');
}

/**
 * Which proxy a request goes through, by the environment as Go's net/http reads it, and so Kiam and kubectl: `HTTPS_PROXY`,
 * `HTTP_PROXY` and `NO_PROXY`, each in capitals before small letters; never a proxy for loopback. `NO_PROXY` lists domains with
 * their subdomains (`example.com`), subdomains alone (`.example.com`, `*.example.com`), addresses, CIDRs, each but the last with
 * or without a port, or `*`. What cannot be read is ignored (https://pkg.go.dev/golang.org/x/net/http/httpproxy).
 */
export function createProxyOf(environment: Environment): ProxyOf {
  // A CGI script finds a header of the request as HTTP_PROXY: Go refuses to use it there (https://go.dev/s/cgihttpproxy).
  const isCgi = (environment['REQUEST_METHOD'] ?? '') !== '';
  const httpProxy = isCgi ? undefined : parseProxy(read(environment, 'HTTP_PROXY'));
  const httpsProxy = parseProxy(read(environment, 'HTTPS_PROXY'));
  const exceptions = read(environment, 'NO_PROXY')
    .split(',')
    .flatMap((entry) => parseException(entry.trim().toLowerCase()) ?? []);

  return (target) => {
    const proxy = { 'http:': httpProxy, 'https:': httpsProxy }[target.protocol];
    if (proxy === undefined) return undefined;
    const host = target.hostname.toLowerCase().replace(/^\[(.*)\]$/, '$1');
    const port = target.port || DEFAULT_PORTS[target.protocol] || '';
    if (host === 'localhost' || isIn(LOOPBACK, host)) return undefined;
    return exceptions.some((matches) => matches(host, port)) ? undefined : proxy;
  };
}

/** Capitals go before small letters; an empty variable counts for nothing. */
function read(environment: Environment, name: string): string {
  return environment[name] || environment[name.toLowerCase()] || '';
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** A URL, or `host[:port]` for a proxy that speaks plain HTTP. */
function parseProxy(text: string): URL | undefined {
  if (text === '') return undefined;
  const url = URL.parse(text);
  // `host:port` is a URL without a host, of the scheme `host:`.
  if (url !== null && url.host !== '') return url;
  return URL.parse(`http://${text}`) ?? undefined;
}

/** `host` is a domain name or an address without brackets. */
type Exception = (host: string, port: string) => boolean;

function parseException(entry: string): Exception | undefined {
  if (entry === '') return undefined;
  if (entry === '*') return () => true;
  const subnet = parseSubnet(entry);
  if (subnet !== undefined) return (host) => isIn(subnet, host);
  const { host: text, port: wantedPort } = splitHostPort(entry);
  if (text === '') return undefined;
  const allowsPort = (port: string): boolean => wantedPort === '' || wantedPort === port;
  if (isAddress(text)) {
    const address = new BlockList();
    address.addAddress(text, family(text));
    return (host, port) => isIn(address, host) && allowsPort(port);
  }
  const name = text.startsWith('*.') ? text.slice(1) : text;
  const suffix = toAscii(name.startsWith('.') ? name : `.${name}`);
  const itself = name.startsWith('.') ? undefined : suffix.slice(1);
  return (host, port) => isIP(host) === 0 && (host.endsWith(suffix) || host === itself) && allowsPort(port);
}

function parseSubnet(entry: string): BlockList | undefined {
  const [, address = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (!isAddress(address) || Number(length) > (isIPv6(address) ? 128 : 32)) return undefined;
  const subnet = new BlockList();
  subnet.addSubnet(address, Number(length), family(address));
  return subnet;
}

/** `host:port` or `[host]:port`; anything else is a host. */
function splitHostPort(entry: string): { readonly host: string; readonly port: string } {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(entry);
  if (match === null) return { host: entry, port: '' };
  return { host: match[1] ?? match[2] ?? '', port: match[3] ?? '' };
}

/** An address with a zone is none, as in Go. */
function isAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%');
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}

/** IPv4 addresses written as IPv6 (`::ffff:192.0.2.1`) count as what they are. */
function isIn(list: BlockList, host: string): boolean {
  return isAddress(host) && list.check(host, family(host));
}

/** Names of other alphabets as a `URL` has them. */
function toAscii(name: string): string {
  return domainToASCII(name) || name;
}
