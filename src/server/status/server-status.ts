import type { StsPace } from '#domain/credentials.ts';
import type { RuleReport } from '#domain/node-details.ts';

/**
 * What one replica holds in memory at a moment. Nothing in it is secret. Times are in seconds; null is unknown or without an
 * end.
 */
export interface ServerStatus {
  readonly replica: ReplicaStatus;
  /** Nodes that have pods with a role, or a stream to this replica, by name. */
  readonly nodes: readonly NodeStatus[];
  readonly identities: readonly IdentityStatus[];
  readonly failing: readonly FailingPod[];
  /** Namespaces that have pods with a role and an expression that permits nothing or everything. */
  readonly namespaces: readonly NamespaceStatus[];
  /** How many pods, ended ones aside, have a role. */
  readonly pods: number;
  /** How many identities and failing pods are left out of the lists above, to keep the answer short. */
  readonly leftOut: { readonly identities: number; readonly failing: number };
}

export interface ReplicaStatus {
  readonly name: string;
  readonly process: number;
  readonly version: string;
  /** Why it is not ready; empty when it is. */
  readonly waitingFor: readonly string[];
  /** How old its view of the cluster may be at most. */
  readonly viewAgeSeconds: number | null;
  readonly viewProblem: string | null;
  readonly streams: number;
  /** Whole days until the TLS certificate in use ends; negative once it has. */
  readonly certificateDaysLeft: number | null;
  readonly sts: StsPace;
}

export interface NodeStatus {
  readonly node: string;
  /** That its agent has open to this replica. */
  readonly streams: number;
  readonly synced: boolean;
  readonly pods: number;
  readonly failing: number;
  /** Pods whose credentials this replica fetches in advance and does not have yet. */
  readonly waiting: number;
  /** What its agent last said of itself on its stream to this replica; null where it said nothing, as older agents. */
  readonly agent: AgentStatus | null;
}

export interface AgentStatus {
  readonly version: string;
  readonly isReady: boolean;
  /** `''` when it is. */
  readonly notReadyBecause: string;
  readonly redirect: RuleReport;
  readonly guard: RuleReport;
  /** How many pods it knows, those without a role among them. */
  readonly pods: number;
  /** Its last warning or error. */
  readonly lastError: string | null;
  readonly lastErrorSecondsAgo: number | null;
}

export interface IdentityStatus {
  readonly roleArn: string;
  /** As STS is given it. */
  readonly sessionName: string;
  /** The tags of the session as `key=value`, and its source identity where it has one. */
  readonly attribution: readonly string[];
  readonly namespaces: readonly string[];
  readonly pods: number;
  /** Of the set that is served, or was served last, in seconds since 1970. */
  readonly issuedAt: number | null;
  readonly expiresAt: number | null;
  readonly remainingSeconds: number | null;
  /** `ok`, `none yet`, or what STS said. */
  readonly lastAnswer: string;
  /** How often this replica called STS for it. */
  readonly calls: number;
  /** Failures of STS in a row. */
  readonly failures: number;
}

export interface FailingPod {
  readonly pod: string;
  readonly node: string;
  readonly reason: string;
}

export interface NamespaceStatus {
  readonly name: string;
  readonly problem: string;
  readonly pods: number;
}
