/** The calls to STS that ended in one minute. */
export interface StsMinute {
  /** The minute, counted since 1970. */
  readonly minute: number;
  readonly calls: number;
  /** Those of them that failed, throttled ones included. */
  readonly failures: number;
  readonly throttled: number;
}

export type RecentEventKind =
  /** A pod may no longer have a role that its agent had been told of. */
  | 'revoked'
  /** A node's agent opened its first stream to this replica. */
  | 'node-came'
  /** A node's agent has no more stream to this replica. */
  | 'node-left'
  /** STS began to fail for a role. */
  | 'sts-failed'
  /** STS gives credentials for a role that it had failed for. */
  | 'sts-recovered';

/** What happened to several of a kind within a minute is one event. */
export interface RecentEvent {
  /** Grows with each event; a merged one keeps its own. */
  readonly sequence: number;
  readonly kind: RecentEventKind;
  /** Milliseconds since 1970. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** How often it happened. */
  readonly count: number;
  /** The first few to whom: pods, nodes or ARNs of roles. */
  readonly subjects: readonly string[];
  /** Why, where that is known. */
  readonly detail: string;
}
