import { type ListenerRoute, sendText } from '#telemetry/http-listener.ts';

import type { WhoisAnswer } from './collect.ts';

export interface WhoisRouteOptions {
  /** Undefined while the server does not know the cluster yet. */
  readonly whois: (accessKeyId: string) => Promise<WhoisAnswer> | undefined;
  /** What a server that is starting waits for. */
  readonly waitingFor: () => readonly string[];
}

/** `/whois?key=ASIA…`: JSON. */
export function createWhoisRoute({ whois, waitingFor }: WhoisRouteOptions): ListenerRoute {
  return async (_request, response, url) => {
    const collecting = whois(url.searchParams.get('key') ?? '');
    if (collecting === undefined) {
      return sendText(response, 503, `the server is starting: it waits for ${waitingFor().join(', ')}\n`);
    }
    return sendText(response, 200, JSON.stringify(await collecting), { 'Content-Type': 'application/json' });
  };
}
