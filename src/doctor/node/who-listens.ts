import type { Clock } from '#runtime/clock.ts';

import { askHttp } from '../ask-http.ts';

export type Listener = 'agent' | 'old kiam' | 'kube2iam' | 'unknown';

/**
 * Which program answers the metadata API at a place. Both Kiams say `pong`; uswitch/kiam passes a request for a token on to the
 * real service, whose `Server` header it hands back, and ours answers it itself. kube2iam tells its `hostIP` at /healthz
 * (jtblin/kube2iam, server/server.go). Never rejects.
 */
export async function whoListens(place: {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<Listener> {
  const ping = await askHttp({ ...place, path: '/ping' });
  if (ping.ok && ping.status === 200 && ping.body === 'pong') {
    // Without a time to live neither of them issues one.
    const token = await askHttp({ ...place, path: '/latest/api/token', method: 'PUT' });
    return token.ok && token.status === 400 && token.headers['server'] === undefined ? 'agent' : 'old kiam';
  }
  const health = await askHttp({ ...place, path: '/healthz' });
  return health.ok && health.body.includes('"hostIP"') ? 'kube2iam' : 'unknown';
}
