import type { CredentialInspection } from '#domain/credentials.ts';
import type { Identity } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { Decision } from '#domain/policy.ts';
import type { RoleResolution } from '#domain/role.ts';

import type { FeedInspection } from '../node-feed.ts';

/** What is known of one pod, by a running server or by whoever has read the API alone. */
export interface ExplainFacts {
  readonly namespace: string;
  readonly name: string;
  /** Who says so, for people. */
  readonly source: string;
  /** Undefined when there is no such pod. */
  readonly pod: PodRecord | undefined;
  /** Of a pod that has addresses of its own. */
  readonly addresses: readonly AddressFacts[];
  /** Whether the servers have `--container-credentials`; undefined where that is not known. */
  readonly servesTokens: boolean | undefined;
  /** Undefined without a role, and where its ARN cannot be told. */
  readonly resolution: RoleResolution | undefined;
  /** What policy says of the annotated role; undefined where that cannot be told. */
  readonly decision: Decision | undefined;
  /** The namespace's expression, `''` for none; undefined when no such namespace is known. */
  readonly permitted: string | undefined;
  /** That is kube2iam's list of roles. */
  readonly isList?: boolean | undefined;
  /** The pod's identity at STS; undefined unless policy allows its role. */
  readonly identity: Identity | undefined;
  /** Undefined without a running server. */
  readonly running: RunningFacts | undefined;
}

export interface AddressFacts {
  readonly address: string;
  /** Whether requests from there count as this pod's; undefined where that is not known. */
  readonly isOwn: boolean | undefined;
  /** Other live pods that claim it, as `namespace/name`. */
  readonly others: readonly string[];
}

/** What only a running server knows. Times are in milliseconds. */
export interface RunningFacts {
  /** How old its view of pods and namespaces may be at most. */
  readonly viewAgeMs: number;
  /** What is wrong with its watch at present. */
  readonly viewProblem: string | undefined;
  /** Since the API server last said that the pod has its addresses; undefined when it has not been asked. */
  readonly confirmedAgoMs: number | undefined;
  /** Undefined without an identity. */
  readonly credentials: CredentialInspection | undefined;
  /** The streams that the agent of the pod's node has open to this server. */
  readonly streams: readonly FeedInspection[];
  /** How an agent proves its node; undefined when none has to, and none is told anything ahead. */
  readonly proof: 'address' | 'token' | undefined;
}
