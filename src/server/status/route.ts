import { type ListenerRoute, sendText } from '#telemetry/http-listener.ts';

import type { ServerStatus } from './server-status.ts';

export interface StatusRouteOptions {
  /** Undefined while the server does not know the cluster yet. */
  readonly status: (namespace: string) => Promise<ServerStatus> | undefined;
  /** What a server that is starting waits for. */
  readonly waitingFor: () => readonly string[];
}

/** `/status`, with `?namespace=N` for one namespace: always JSON, in ASCII. */
export function createStatusRoute({ status, waitingFor }: StatusRouteOptions): ListenerRoute {
  return async (_request, response, url) => {
    const collecting = status(url.searchParams.get('namespace') ?? '');
    if (collecting === undefined) {
      return sendText(response, 503, `the server is starting: it waits for ${waitingFor().join(', ')}\n`);
    }
    const text = JSON.stringify(await collecting);
    const ascii = text.replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    return sendText(response, 200, ascii, { 'Content-Type': 'application/json' });
  };
}
