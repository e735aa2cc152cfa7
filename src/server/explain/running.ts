import type { CredentialInspection } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';

import type { AgentIdentityMode } from '../agent-scope.ts';
import type { Confirmation } from '../confirmation.ts';
import type { NodeFeeds } from '../node-feeds.ts';
import type { RunningFacts } from './facts.ts';

export interface RunningOptions {
  readonly view: () => Pick<RunningFacts, 'viewAgeMs' | 'viewProblem'>;
  readonly confirmation: Pick<Confirmation, 'confirmedAgoMs'>;
  readonly credentials: { inspect(identity: Identity): CredentialInspection };
  readonly feeds: Pick<NodeFeeds, 'ofPod'>;
  readonly agentIdentity: AgentIdentityMode;
}

/** Reads what a running server holds in memory about a pod. */
export function runningFacts(
  { view, confirmation, credentials, feeds, agentIdentity }: RunningOptions,
  pod: PodRecord | undefined,
  identity: Identity | undefined,
): RunningFacts {
  return {
    ...view(),
    confirmedAgoMs: pod === undefined ? undefined : confirmation.confirmedAgoMs(pod),
    credentials: identity === undefined ? undefined : credentials.inspect(identity),
    streams: pod === undefined ? [] : feeds.ofPod(pod).map((feed) => feed.inspect(pod.uid)),
    proof: agentIdentity === 'off' ? undefined : agentIdentity === 'token' ? 'token' : 'address',
  };
}
