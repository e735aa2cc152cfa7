import type { Expression } from './expression.ts';
import type { NamespaceRecord } from './namespace.ts';
import type { PodRecord } from './pod.ts';
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
 * Whether a pod may have a role: the role must be the one that it is annotated with, and its namespace's expression must
 * match that role's ARN. Total: every doubt is a refusal. The explanations are Kiam's (`pkg/server/policy.go`).
 */
export function decide({ pod, requestedRole, namespace, expression, baseArn }: PolicyQuestion): Decision {
  const requested = resolveRole(requestedRole, baseArn);
  if (!requested.ok) return refuse(requested.reason);
  const annotated = resolveRole(pod.role, baseArn);
  if (!annotated.ok) return refuse(annotated.reason);
  if (requested.role.arn !== annotated.role.arn) {
    return refuse(`requested '${requested.role.name}' but annotated with '${annotated.role.name}', forbidden`);
  }
  if (namespace === undefined) return refuse(`namespace '${pod.namespace}' is not known, forbidden`);
  if (namespace.permitted === '') {
    return refuse(`namespace policy expression '(empty)' forbids role '${requestedRole}'`);
  }
  if (!expression.ok) {
    return refuse(`namespace policy expression '${shorten(expression.text)}' is invalid: ${expression.reason}`);
  }
  if (!expression.matches(annotated.role.arn)) {
    return refuse(`namespace policy expression '${expression.text}' forbids role '${annotated.role.arn}'`);
  }
  return { allowed: true, roleArn: annotated.role.arn };
}

function refuse(explanation: string): Decision {
  return { allowed: false, explanation };
}

/** Explanations reach logs and Events, which a refused text must not fill. */
function shorten(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
