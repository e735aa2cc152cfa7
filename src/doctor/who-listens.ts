import { askHttp, type HttpPlace } from './ask-http.ts';

export type Listener = 'agent' | 'old kiam' | 'kube2iam' | 'unknown';

/** For people. */
export const LISTENERS: Readonly<Record<Listener, string>> = {
  agent: 'an agent of this Kiam',
  'old kiam': 'an agent of uswitch/kiam',
  kube2iam: 'kube2iam',
  unknown: 'another program',
};

/**
 * Which program answers the metadata API at a place. Both Kiams say `pong`, uswitch/kiam to any method (recorded, `ping POST`)
 * and ours to GET and HEAD alone. kube2iam returns its `hostIP` at /healthz (jtblin/kube2iam, server/server.go). Never rejects.
 */
export async function whoListens(place: HttpPlace): Promise<Listener> {
  const ping = await askHttp({ ...place, path: '/ping' });
  if (ping.ok && ping.status === 200 && ping.body === 'pong') {
    const post = await askHttp({ ...place, path: '/ping', method: 'POST' });
    return post.ok && post.status === 405 ? 'agent' : 'old kiam';
  }
  const health = await askHttp({ ...place, path: '/healthz' });
  return health.ok && health.body.includes('"hostIP"') ? 'kube2iam' : 'unknown';
}
