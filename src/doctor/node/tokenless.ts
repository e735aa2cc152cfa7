import type { Clock } from '#runtime/clock.ts';
import type { ListenAddress } from '#telemetry/listen-address.ts';

import { askHttp } from '../ask-http.ts';
import { localEnd } from '../daemon.ts';
import { cannotTell, type Observation, ok } from '../finding.ts';

export interface TokenlessOptions {
  /** `--prometheus-listen-addr` of the agent; undefined where it has none. */
  readonly address: ListenAddress | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A line names at most this many namespaces. */
const MOST_NAMED = 5;

/** Whether `--require-imdsv2` would refuse anybody on this node, by the agent's own count since its start. Never rejects. */
export async function checkTokenless({ address, clock, signal }: TokenlessOptions): Promise<Observation[]> {
  // Another check reports a missing daemon, or one without metrics.
  if (address === undefined) return [];
  const answer = await askHttp({ ...localEnd(address), path: '/metrics', clock, signal });
  if (!answer.ok || answer.status !== 200) return [];
  if (!answer.body.includes(METRIC))
    return [cannotTell(`its metrics have no ${METRIC}`, 'is it an agent of this Kiam?')];
  const counts = [...answer.body.matchAll(SAMPLE)]
    .map(([, namespace = '', count]) => ({ namespace, count: Number(count) }))
    .filter(({ count }) => count > 0)
    .toSorted((a, b) => b.count - a.count);
  if (counts.length === 0)
    return [ok('no pod here has asked without a session token: --require-imdsv2 would refuse none')];
  const named = counts.slice(0, MOST_NAMED).map(({ namespace, count }) => `${namespace} (${count})`);
  const more = counts.length > MOST_NAMED ? ` and ${counts.length - MOST_NAMED} more` : '';
  return [
    ok(`requests without a session token, which --require-imdsv2 refuses, by namespace: ${named.join(', ')}${more}`),
  ];
}

const METRIC = 'kiam_metadata_tokenless_requests_total';
const SAMPLE = new RegExp(`^${METRIC}\\{namespace="([^"]*)"\\} (\\d+)$`, 'gm');
