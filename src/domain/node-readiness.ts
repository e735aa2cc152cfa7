import { oneLine, shortened } from '#runtime/text.ts';

/**
 * The Node condition that tells whether pods of the node get credentials. The type is neutral: it is a fact about the node, not
 * about a program.
 */
export const CONDITION_TYPE = 'PodCredentialsReady';

/** Nodes may join with this taint; it is taken off when the condition is true, and never put on. */
export const STARTUP_TAINT = 'kiam/agent-not-ready';

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** What an agent says of its node. */
export interface NodeReport {
  readonly ready: boolean;
  /** In one word of the form that a Node's condition takes. */
  readonly reason: string;
  /** For people, one line. */
  readonly message: string;
}

/** The condition as a Node has it. */
export interface NodeCondition {
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
  /** As the API has these times, of whole seconds. */
  readonly lastHeartbeatTime: string;
  readonly lastTransitionTime: string;
}

/** What is kept of a Node. */
export interface NodeRecord {
  readonly uid: string;
  readonly name: string;
  readonly resourceVersion: string;
  /** `status.addresses` that are IP addresses, in canonical form. */
  readonly addresses: readonly string[];
  /** Where among the taints the start-up taint is; -1 for none. */
  readonly taintIndex: number;
  /** Undefined for a Node without the condition. */
  readonly condition: NodeCondition | undefined;
}

/** https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/types.go, `Condition`: what a reason may look like. */
const REASON = /^[A-Za-z]([A-Za-z0-9_,:]{0,254}[A-Za-z0-9_])?$/;
const LONGEST_MESSAGE = 1024;

/** A report as it may stand in a Node's condition: an agent's text is not trusted. */
export function cleanReport({ ready, reason, message }: NodeReport): NodeReport {
  return {
    ready,
    reason: REASON.test(reason) ? reason : 'AgentNotReady',
    message: shortened(oneLine(message.toWellFormed()), LONGEST_MESSAGE),
  };
}
