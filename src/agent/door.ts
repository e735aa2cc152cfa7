import { createRate } from '#runtime/rate.ts';

import type { Exchange } from './answer.ts';
import { isMetadataHost } from './host.ts';
import { createLimits, type PodLimits, type Usage } from './limits.ts';
import type { Refusal } from './metrics.ts';
import type { Route } from './route.ts';
import type { Target } from './targets.ts';

export type Entry =
  /** `usage` is undefined for what is within a share of its own. */
  { readonly kind: 'admitted'; readonly route: Route; readonly usage: Usage | undefined } | Refused;

export interface Refused {
  readonly kind: 'refused';
  readonly reason: Refusal;
  readonly status: number;
  readonly message: string;
  /** Whether the connection is to be closed. */
  readonly closes: boolean;
}

/** A share for the kubelet's probes, whose address all programs in the node's network have. It asks every few seconds. */
const PROBES = { perSecond: 10, burst: 20 };
const KUBELET = /^kube-probe\//;

/** Decides whether a request gets as far as a route: within its address's limits, well-formed, and meant for this service. */
export function createDoor(podLimits: PodLimits): (exchange: Exchange, target: Target, nowMs: number) => Entry {
  const limits = createLimits(podLimits);
  const admitProbe = createRate(PROBES);

  const isReserved = ({ client, request }: Exchange, target: Target, nowMs: number): boolean =>
    target.ok &&
    isProbe(target.route) &&
    KUBELET.test(request.headers['user-agent'] ?? '') &&
    admitProbe(client.address, nowMs);

  return (exchange, target, nowMs) => {
    const { client, request } = exchange;
    if (client.address === '') return refusedAtDoor('path', 400, 'the client has no address', true);
    const usage = limits.admit(client.address, nowMs);
    if (typeof usage === 'string' && !isReserved(exchange, target, nowMs)) {
      return refusedAtDoor(usage, 429, `too many requests: the pod's limit on ${usage} is reached`, true);
    }
    if (!target.ok) return refusedAtDoor('path', 400, target.reason);
    const { host, expect } = request.headers;
    if (host === undefined && request.httpVersion === '1.1') return refusedAtDoor('host', 400, 'no Host header', true);
    if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
      return refusedAtDoor('malformed', 417, 'the expectation cannot be met');
    }
    const { route } = target;
    if (!isProbe(route) && !isMetadataHost(target.authority ?? host, request.socket)) {
      return refusedAtDoor('host', 403, 'the request is for another host');
    }
    return { kind: 'admitted', route, usage: typeof usage === 'string' ? undefined : usage };
  };
}

/** These say nothing about any pod, and people reach them by the node's name. */
function isProbe({ name }: Route): boolean {
  return name === 'ping' || name === 'health';
}

export function refusedAtDoor(reason: Refusal, status: number, message: string, closes = false): Refused {
  return { kind: 'refused', reason, status, message, closes };
}
