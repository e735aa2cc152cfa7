import type { ConditionStatus, NodeCondition, NodeReport } from '#domain/node-readiness.ts';

/** What a Node's condition is to be. */
export interface NextCondition {
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
}

/** What is known of one Node by one replica. Times are in milliseconds. */
export interface ReadinessFacts {
  /** As the Node has it. */
  readonly condition: NodeCondition | undefined;
  /** This replica was the last to write it. */
  readonly isOurs: boolean;
  /** How long it has been seen with the same heartbeat. */
  readonly seenForMs: number;
  /** What the Node's agents say on the streams that are open here. */
  readonly reports: readonly NodeReport[];
  /** This replica has taken the Node over since its agents report here. */
  readonly isClaimed: boolean;
  /** How long no agent of the Node has reported here. */
  readonly silentForMs: number;
  /** An agent should be there: its pod is on the Node, or the Node waits for one by the start-up taint. */
  readonly isExpected: boolean;
  /** Why no agent is heard, as far as can be told. */
  readonly silence: Omit<NextCondition, 'status'>;
}

/** A Node whose agent has gone counts as it was for this long: an agent that is replaced is back within seconds. */
export const GRACE_MS = 40_000;

/** How often a condition is written that has not changed, as kubelets write theirs (`nodeStatusReportFrequency`). */
export const RENEWAL_MS = 300_000;

/** A condition with an older heartbeat is nobody's any more: the replica that wrote it has gone, and its Node's agent too. */
export const ABANDONED_MS = 420_000;

/**
 * What a replica writes to a Node's condition now; undefined for nothing. The replica that has the stream of the Node's agent
 * writes. What another has written stands until its heartbeat is too old, unless an agent here says that all is well: of two
 * agents that change over, the one that is not ready yet takes nothing from the Node.
 */
export function nextCondition(facts: ReadinessFacts): NextCondition | undefined {
  const { condition, isOurs, seenForMs, reports, isClaimed, silentForMs, isExpected, silence } = facts;
  const isLeft = condition !== undefined && !isOurs && seenForMs < ABANDONED_MS;
  const report = reports.find(({ ready }) => ready) ?? reports[0];
  if (report === undefined) {
    if (silentForMs < GRACE_MS || isLeft) return undefined;
    if (!isExpected && (condition === undefined || condition.status === 'Unknown')) return undefined;
    return unlessCurrent(facts, { status: 'Unknown', ...silence });
  }
  if (!report.ready && isLeft && condition.status === 'True') return undefined;
  const { ready, reason, message } = report;
  const next: NextCondition = { status: ready ? 'True' : 'False', reason, message };
  return isOurs || isClaimed ? unlessCurrent(facts, next) : next;
}

/** What differs from the condition, and what does not when its heartbeat is due. */
function unlessCurrent(
  { condition, isOurs, seenForMs }: ReadinessFacts,
  next: NextCondition,
): NextCondition | undefined {
  if (condition === undefined) return next;
  const isSame = (['status', 'reason', 'message'] as const).every((name) => condition[name] === next[name]);
  return isSame && seenForMs < (isOurs ? RENEWAL_MS : ABANDONED_MS) ? undefined : next;
}
