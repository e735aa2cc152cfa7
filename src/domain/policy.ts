import { shortened } from '#runtime/text.ts';
import type { Expression } from './expression.ts';
import type { NamespaceRecord } from './namespace.ts';
import { externalIdProblem, sessionTagsProblem } from './iam-grammar.ts';
import { EXTERNAL_ID_ANNOTATION, type PodRecord } from './pod.ts';
import { resolveRole } from './role.ts';

export type Decision =
  | { readonly allowed: true; readonly roleArn: string }
  | { readonly allowed: false; readonly explanation: string };

export interface PolicyQuestion {
  readonly pod: PodRecord;
  /** The role as the pod asked for it. */
  readonly requestedRole: string;
  /** Undefined when no such namespace is known. */
  readonly namespace: NamespaceRecord | undefined;
  /** The namespace's expression, compiled. */
  readonly expression: Expression;
  /** See {@link resolveRole}. */
  readonly baseArn: string;
}

/**
 * Whether a pod may have a role: the role must be the one that it is annotated with, its namespace's expression must match that
 * role's ARN, and what it annotates must be valid for AWS. Total: every doubt is a refusal. The explanations are Kiam's
 * (`pkg/server/policy.go`) wherever Kiam refuses.
 */
export function decide({ pod, requestedRole, namespace, expression, baseArn }: PolicyQuestion): Decision {
  const annotated = resolveRole(pod.role, baseArn);
  if (!annotated.ok) return refuse(annotated.reason);
  const requested = resolveRole(requestedRole, baseArn);
  if (!requested.ok) return refuse(requested.reason);
  if (requested.role.arn !== annotated.role.arn) {
    return refuse(`requested '${requested.role.name}' but annotated with '${annotated.role.name}', forbidden`);
  }
  if (namespace === undefined) return refuse(`namespace '${pod.namespace}' is not known, forbidden`);
  if (namespace.permitted === '') {
    return refuse(`namespace policy expression '(empty)' forbids role '${requestedRole}'`);
  }
  if (!expression.ok) {
    return refuse(`namespace policy expression '${shortened(expression.text, 200)}' is invalid: ${expression.reason}`);
  }
  if (!expression.matches(annotated.role.arn)) {
    return refuse(`namespace policy expression '${expression.text}' forbids role '${annotated.role.arn}'`);
  }
  const problem = externalIdProblem(pod.externalId);
  if (problem !== undefined) return refuse(`${EXTERNAL_ID_ANNOTATION} is not valid: ${problem}`);
  if (pod.sessionTags === undefined) return refuse('its ServiceAccount, which may set session tags, is not known');
  const tagProblem = sessionTagsProblem(pod.sessionTags);
  if (tagProblem !== undefined) return refuse(tagProblem);
  return { allowed: true, roleArn: annotated.role.arn };
}

function refuse(explanation: string): Decision {
  return { allowed: false, explanation };
}
