import { failed, type Outcome, succeeded } from '#domain/failure.ts';
import { type Clock, sleep } from '#runtime/clock.ts';

import type { AuditLog } from '../audit-log.ts';
import { livesLongEnough, type NodeStore, type StoredPod } from '../node/store.ts';
import type { NodeStream } from '../node/stream.ts';
import type { PodClaims } from './token-verifier.ts';
import type { Client, CredentialSource, PodCredentials, PodCredentialSource } from '../ports.ts';

export interface PodSourceOptions {
  /** Answers by the connection's address: a pod with an address of its own must have it. */
  readonly source: CredentialSource;
  readonly store: Pick<NodeStore, 'find' | 'byUid' | 'credentialsOf'>;
  readonly stream: Pick<NodeStream, 'isLive' | 'silenceMs'>;
  readonly clock: Clock;
  /** `--serve-stale`: how long a pod that no interface shows is served after the stream was lost, in milliseconds. */
  readonly serveStaleMs: number;
  /** Told of each serving that `source` is not asked for. */
  readonly audit?: AuditLog | undefined;
  /** Whether an address in canonical form is one of the node's own. */
  readonly isNodeAddress: (address: string) => boolean;
}

/** How often the node's memory is looked at for a pod that is not there yet. */
const LOOK_EVERY_MS = 25;

const OTHER_POD = failed('forbidden', 'the token says otherwise of its pod than the servers');
const OTHER_PLACE = failed('forbidden', 'the token is another pod’s than the connection');
const NO_ROLE = failed('role-empty', 'empty role');
const DENIED = failed('forbidden', 'forbidden by policy');
const NOT_KNOWN = failed('pod-not-found', 'pod not found');
const NOT_ISSUED = failed('timed-out', 'the credentials are not there yet');

/**
 * Finds the credentials of the pod that a verified token names. The token alone is not enough: the pod must be one that a server
 * told of this node, and where it has an address of its own the connection must be its own by the rules of every request
 * (docs/architecture.md, "Who has an address"). The connection of a pod with the host's network must come from the node itself:
 * the kernel drops a packet with such an address that comes in by an interface (`accept_local`).
 */
export function createPodSource(options: PodSourceOptions): PodCredentialSource {
  const { source, store, stream, clock, serveStaleMs, audit, isNodeAddress } = options;

  /** Without an interface of its own nothing shows that such a pod is still there but the stream. */
  const isCurrent = (): boolean => stream.isLive || stream.silenceMs() < serveStaleMs;

  const isFromNode = ({ address }: Client): boolean => isNodeAddress(address) && store.find(address) === undefined;

  const held = (pod: StoredPod): PodCredentials | undefined => {
    const credentials = isCurrent() ? store.credentialsOf(pod) : undefined;
    if (credentials === undefined || !livesLongEnough(credentials, clock)) return undefined;
    audit?.(pod, credentials.value);
    return { credentials: credentials.value, roleArn: pod.roleArn };
  };

  /** What can be said of a pod with the host's network now; undefined where waiting may help. */
  const ofNode = (client: Client, pod: StoredPod): Outcome<PodCredentials> | undefined => {
    if (!isFromNode(client)) return OTHER_PLACE;
    if (pod.role === '') return NO_ROLE;
    if (pod.roleArn === '') return DENIED;
    const credentials = held(pod);
    return credentials === undefined ? undefined : succeeded(credentials);
  };

  const onNode = async (client: Client, claims: PodClaims, signal: AbortSignal): Promise<Outcome<PodCredentials>> => {
    for (;;) {
      const pod = store.byUid(claims.uid);
      const answer = pod === undefined ? NOT_KNOWN : isOf(claims, pod) ? ofNode(client, pod) : OTHER_POD;
      if (answer !== undefined) return answer;
      if (signal.aborted) return NOT_ISSUED;
      await sleep(clock, LOOK_EVERY_MS, signal);
    }
  };

  const byAddress = async (client: Client, uid: string, signal: AbortSignal): Promise<Outcome<PodCredentials>> => {
    if (isFromNode(client)) return OTHER_PLACE;
    const known = source.knownRole(client);
    const holder = known === undefined ? await source.podRole(client, signal) : succeeded(known);
    if (!holder.ok) return holder;
    const { role, uid: owner } = holder.value;
    if (owner !== uid) return OTHER_PLACE;
    if (role === '') return NO_ROLE;
    const outcome = await source.podCredentials(client, role, signal, uid);
    if (!outcome.ok) return outcome;
    const credentials = outcome.value;
    return succeeded({ credentials, roleArn: source.roleArnOf(client, credentials) ?? '' });
  };

  /** The pod that the token names, as soon as a server has told of it: a new ServiceAccount may be told later than its pod. */
  const told = async (claims: PodClaims, signal: AbortSignal): Promise<StoredPod | undefined> => {
    for (;;) {
      const pod = store.byUid(claims.uid);
      if ((pod !== undefined && isOf(claims, pod)) || signal.aborted) return pod;
      await sleep(clock, LOOK_EVERY_MS, signal);
    }
  };

  return {
    known: (client, claims) => {
      const pod = store.byUid(claims.uid);
      if (pod === undefined || !isOf(claims, pod)) return undefined;
      if (pod.hostNetwork) return isFromNode(client) ? held(pod) : undefined;
      if (store.find(client.address) !== pod) return undefined;
      const credentials = source.knownCredentials(client, pod.role);
      return credentials === undefined ? undefined : { credentials, roleArn: pod.roleArn };
    },
    find: async (client, claims, signal) => {
      const { uid } = claims;
      const owner = source.knownRole(client)?.uid;
      if (owner !== undefined && owner !== uid) return OTHER_PLACE;
      const pod = await told(claims, signal);
      if (pod === undefined) return NOT_KNOWN;
      if (!isOf(claims, pod)) return OTHER_POD;
      return pod.hostNetwork ? onNode(client, claims, signal) : byAddress(client, uid, signal);
    },
  };
}

/**
 * Whether a token says of its pod what the servers say, as far as both say it: a ServiceAccount that was made again has another
 * UID, and the API server takes no token of the one before.
 */
function isOf(claims: PodClaims, pod: StoredPod): boolean {
  const agree = (claimed: string, told: string): boolean => claimed === told || claimed === '' || told === '';
  return (
    claims.name === pod.name &&
    claims.namespace === pod.namespace &&
    claims.serviceAccount === pod.serviceAccount &&
    agree(claims.serviceAccountUid, pod.serviceAccountUid) &&
    agree(claims.nodeName, pod.nodeName)
  );
}
