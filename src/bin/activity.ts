import type { Sts } from '#aws/sts.ts';
import { type Identity, identityKey } from '#domain/identity.ts';
import { type NodeId, nodeTextOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Clock } from '#runtime/clock.ts';
import type { NodeFeeds } from '#server/node-feeds.ts';
import { RecentEvents } from '#server/status/recent-events.ts';
import { StsHistory } from '#server/status/sts-history.ts';

/** Recent events of this process, for `kiam status` and the status page. */
export interface Activity {
  readonly events: RecentEvents;
  readonly sts: StsHistory;
  readonly watched: (sts: Sts) => Sts;
  readonly noteRevoked: (pod: PodRecord) => void;
}

/** For at most this many roles it is remembered that STS fails. */
const MOST_FAILED = 5000;

export function createActivity(clock: Clock, feeds: Pick<NodeFeeds, 'has' | 'subscribe'>): Activity {
  const events = new RecentEvents(clock);
  const history = new StsHistory(clock);
  const failed = new Set<string>();
  feeds.subscribe((node) => {
    const place = placeOf(node);
    events.add(feeds.has(place) ? 'node-came' : 'node-left', nodeTextOf(place));
  });

  const noteOutcome = (identity: Identity, problem: string | undefined): void => {
    const key = identityKey(identity);
    if (problem === undefined && failed.delete(key)) events.add('sts-recovered', identity.roleArn);
    if (problem === undefined || failed.has(key) || failed.size >= MOST_FAILED) return;
    failed.add(key);
    events.add('sts-failed', identity.roleArn, problem);
  };
  return {
    events,
    sts: history,
    watched: (sts) => ({
      assumeRole: async (identity, signal) => {
        const outcome = await sts.assumeRole(identity, signal);
        const throttled = !outcome.ok && outcome.category === 'throttled';
        history.ended(outcome.ok ? 'answered' : throttled ? 'throttled' : 'failed');
        noteOutcome(identity, outcome.ok ? undefined : outcome.code || outcome.category);
        return outcome;
      },
    }),
    noteRevoked: ({ namespace, name, role }) =>
      events.add('revoked', `${namespace}/${name}`, role === '' ? 'it has no role any more' : 'policy forbids it'),
  };
}

function placeOf(node: NodeId): Pick<PodRecord, 'nodeName' | 'hostIps'> {
  return node.by === 'name' ? { nodeName: node.name, hostIps: [] } : { nodeName: '', hostIps: [node.address] };
}
