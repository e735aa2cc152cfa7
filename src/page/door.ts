import type { IncomingMessage } from 'node:http';

/**
 * What every answer says to the browser: nothing is loaded, run, framed or sent from or to anywhere else, and no text becomes
 * markup (https://www.w3.org/TR/CSP3/, https://www.w3.org/TR/trusted-types/).
 */
export const PAGE_HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Frame-Options': 'DENY',
} as const;

/** The local port of a port-forward can be any number. */
const LOCAL_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;
const LOCAL_PEER = /^(?:127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+)$/;

/**
 * Why a request is refused, for whoever sent it; undefined for one that is good. A name that resolves to this machine is not
 * enough (DNS rebinding), and neither is a packet that was sent to a loopback address from elsewhere (CVE-2020-8558).
 */
export function refusalOf({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string | undefined {
  if (!LOCAL_PEER.test(socket.remoteAddress ?? '')) return 'only this machine may ask';
  if (!LOCAL_HOST.test(headers.host ?? '')) return 'open this page as http://localhost:PORT';
  return undefined;
}

/**
 * Whether another site makes its visitor's browser send the request. Following a link to the page is harmless, reading its
 * contents from there is not.
 */
export function isAskedByOtherSite({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  const site = headers['sec-fetch-site'] ?? 'none';
  return site !== 'same-origin' && site !== 'none';
}
