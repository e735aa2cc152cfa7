import { type Identity, identityKey } from '#domain/identity.ts';
import { nodeTextOf } from '#domain/node.ts';
import type { PodRecord } from '#domain/pod.ts';

import type { FeedInspection } from '../node-feed.ts';
import { inSeconds, type Link, spoken } from './explanation.ts';
import type { RunningFacts } from './facts.ts';

/** Whether the API server has confirmed the pod's addresses recently. */
export function confirmedLink({ confirmedAgoMs }: RunningFacts): Link {
  return {
    link: 'confirmed',
    verdict: confirmedAgoMs === undefined ? 'note' : 'ok',
    text:
      confirmedAgoMs === undefined
        ? "the API server has not been asked yet whether the address is still the pod's: the first answer asks it"
        : `the API server said ${spoken(confirmedAgoMs)} ago that the address is the pod's`,
    facts: { secondsAgo: confirmedAgoMs === undefined ? null : inSeconds(confirmedAgoMs) },
  };
}

/** What was sent to the agent of the pod's node on its stream from this server. */
export function agentLink(pod: PodRecord, { streams, proof }: RunningFacts, identity: Identity | undefined): Link {
  const link = 'agent';
  const node = nodeTextOf(pod);
  const facts = { node, streams: streams.length, proof: proof ?? null };
  if (proof === undefined) {
    const text = 'with --agent-identity=off no agent is told anything in advance: it asks for each answer';
    return { link, verdict: 'note', text, facts };
  }
  // Of two, the agent is changing over to the one that was opened last.
  const [stream] = streams.toSorted((left, right) => left.openForMs - right.openForMs);
  if (stream === undefined) {
    const text = `no stream of an agent on the node ${node} to this replica: it may have one to another, or none`;
    return { link, verdict: 'note', text, facts };
  }
  const told = toldOf(stream, identity);
  const how = proof === 'token' ? 'its token' : 'its address';
  return {
    link,
    verdict: told === 'credentials' ? 'ok' : 'note',
    text: `${TOLD[told]}, on its stream from ${stream.peer}, open for ${spoken(stream.openForMs)}, whose node is proven by ${how}${hurry(stream)}`,
    facts: {
      ...facts,
      peer: stream.peer,
      openSeconds: inSeconds(stream.openForMs),
      synced: stream.isSynced,
      behind: stream.isBehind,
      changing: stream.isChanging,
      told,
    },
  };
}

type Told = 'nothing' | 'pod' | 'credentials' | 'earlier-credentials';

const TOLD: Readonly<Record<Told, string>> = {
  nothing: 'has not been told of the pod',
  pod: 'has been told of the pod, without credentials',
  credentials: 'has been told of the pod and these credentials',
  'earlier-credentials': 'has been told of the pod as it was, and the credentials that it had',
};

function toldOf({ identityKey: told, hasCredentials }: FeedInspection, identity: Identity | undefined): Told {
  if (told === undefined) return 'nothing';
  if (told === '' || !hasCredentials) return 'pod';
  return identity !== undefined && told === identityKey(identity) ? 'credentials' : 'earlier-credentials';
}

function hurry({ isSynced, isBehind, isChanging }: FeedInspection): string {
  if (isBehind) return '; it reads slowly and has not received the rest yet';
  return isChanging || !isSynced ? '; more will be sent' : '';
}
