import type { CredentialInspection } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import type { NodeId } from '#domain/node.ts';
import { asksByToken, ownsItsAddress, type PodRecord } from '#domain/pod.ts';

import type { NodeFeeds } from '../node-feeds.ts';
import type { PodView } from '../ports.ts';

export interface JudgeOptions {
  readonly pods: Pick<PodView, 'find'>;
  /** See `CollectOptions.nodeOf` of `explain/`. */
  readonly nodeOf: (pod: PodRecord) => NodeId | undefined;
  /** What the pod is to STS; undefined where policy refuses it. */
  readonly identify: (pod: PodRecord) => Identity | undefined;
  readonly credentials: { inspect(identity: Identity): CredentialInspection };
  readonly feeds: Pick<NodeFeeds, 'ofPod'>;
  /** `--container-credentials`: pods with the host's network are served as well, by their token. */
  readonly servesTokens: boolean;
}

/** `waiting`: its credentials are this replica's to fetch in advance, and are not in yet. */
export type PodState = 'failing' | 'waiting' | 'fine';

/** What comes of a pod that has a role, as far as this replica knows. */
export function judgePod(
  options: JudgeOptions,
  pod: PodRecord,
): { readonly identity: Identity | undefined; readonly state: PodState } {
  const hasAddress = ownsItsAddress(pod);
  const isServed = hasAddress || (options.servesTokens && asksByToken(pod) && pod.asksBy === 'container credentials');
  const identity = isServed ? options.identify(pod) : undefined;
  if (identity === undefined || (hasAddress && isRefusedByOthers(options, pod))) return { identity, state: 'failing' };
  const { held, failure } = options.credentials.inspect(identity);
  if (held?.isServed === true) return { identity, state: 'fine' };
  if (failure !== undefined) return { identity, state: 'failing' };
  return { identity, state: options.feeds.ofPod(pod).length > 0 ? 'waiting' : 'fine' };
}

/** Another pod claims each of its addresses as well. */
function isRefusedByOthers({ pods, nodeOf }: JudgeOptions, pod: PodRecord): boolean {
  const isOwn = (address: string): boolean => {
    const found = pods.find(address, { node: nodeOf(pod) });
    return found.kind === 'found' && found.pod.uid === pod.uid;
  };
  return pod.addresses.length > 0 && !pod.addresses.some(isOwn);
}
