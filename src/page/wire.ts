import type {
  AgentStatus,
  FailingPod,
  IdentityStatus,
  NamespaceStatus,
  NodeStatus,
  ReplicaStatus,
  ServerStatus,
} from '#server/status/server-status.ts';
import type { RecentEvent, StsMinute } from '#server/status/history.ts';

/* What the page in the browser is told, as JSON. Nothing in it is secret. */

/** Without values that change every second: the page itself counts down to `expiresAt`. */
export type IdentityRow = Omit<IdentityStatus, 'remainingSeconds'> & { readonly isServed: boolean };

/** Without the age of the agent's last error, which changes every second. */
export type NodeRow = Omit<NodeStatus, 'agent'> & {
  readonly agent: Omit<AgentStatus, 'lastErrorSecondsAgo'> | null;
};

/** The rows of each table, by its name. */
export interface Rows {
  readonly nodes: NodeRow;
  readonly identities: IdentityRow;
  readonly failing: FailingPod;
  readonly namespaces: NamespaceStatus;
  readonly events: RecentEvent;
}

/** The changes of one table: new and changed rows by key, and the keys of removed rows. */
export interface TableChange<Row> {
  readonly rows: readonly (readonly [key: string, row: Row])[];
  readonly gone: readonly string[];
}

/** `/api/overview?since=CURSOR`: changes since the answer with this cursor, or everything. */
export interface OverviewAnswer {
  /** For the next question. */
  readonly cursor: string;
  /** True where this is everything, and what the page holds is to be forgotten. */
  readonly isWhole: boolean;
  /** The server's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  readonly replica: ReplicaStatus;
  readonly pods: number;
  readonly leftOut: ServerStatus['leftOut'];
  readonly sts: readonly StsMinute[];
  readonly tables: { readonly [Name in keyof Rows]: TableChange<Rows[Name]> };
}

export interface FoundPod {
  /** `namespace/name` */
  readonly pod: string;
  readonly node: string;
  /** As annotated. */
  readonly role: string;
  readonly state: 'failing' | 'waiting' | 'fine';
}

/** `/api/pods?search=TEXT&node=NODE&role=ARN`: the first of the pods that match, failing ones first, and how many match. */
export interface PodsAnswer {
  readonly found: number;
  readonly pods: readonly FoundPod[];
}
