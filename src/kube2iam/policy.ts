import { type AllowedRolesFormat, compileAllowedRoles } from '#domain/allowed-roles.ts';
import type { Expression } from '#domain/expression.ts';
import type { NamespaceRecord } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';
import { type Decision, decide } from '#domain/policy.ts';
import type { NamespaceView } from '#server/ports.ts';
import { LRUCache } from 'lru-cache';

export interface Kube2iamPolicyOptions {
  readonly namespaces: Pick<NamespaceView, 'get'>;
  readonly baseArn: string;
  /** What `--default-role` stands for; the base ARN alone where it is not given. */
  readonly defaultRoleArn: string;
  /** `--namespace-restrictions`; undefined without it. */
  readonly restriction: AllowedRolesFormat | undefined;
}

/** Compiled role lists kept. */
const COMPILED_LISTS = 4096;

const ANYTHING: Expression = { ok: true, text: '*', matches: () => true, matchesAsKiam: () => true };

/**
 * kube2iam's rule of which roles a namespace's pods may have. Pods have ARNs for roles here. Without restrictions every role
 * is allowed everywhere; with them the default role is still allowed in every namespace.
 */
export function createKube2iamPolicy({ namespaces, baseArn, defaultRoleArn, restriction }: Kube2iamPolicyOptions): {
  decide(pod: PodRecord, requestedRole: string): Decision;
  /** Whether the namespace may have the pod's role, whatever is asked for. */
  permits(pod: PodRecord): boolean;
} {
  const compiled = new LRUCache<string, Expression>({ max: COMPILED_LISTS });
  const expressionOf = (text: string, format: AllowedRolesFormat): Expression => {
    const known = compiled.get(text);
    if (known !== undefined) return known;
    const expression = compileAllowedRoles(text, format, baseArn);
    compiled.set(text, expression);
    return expression;
  };
  /** The namespace as it counts for the pod's role, with its list compiled. */
  const ruleFor = (pod: PodRecord): { namespace: NamespaceRecord | undefined; expression: Expression } => {
    if (restriction === undefined || pod.role === defaultRoleArn) {
      return { namespace: { name: pod.namespace, permitted: ANYTHING.text }, expression: ANYTHING };
    }
    const namespace = namespaces.get(pod.namespace);
    return { namespace, expression: expressionOf(namespace?.permitted ?? '', restriction) };
  };
  return {
    // Both roles are ARNs, or what kube2iam takes for one: nothing is put before them again.
    decide: (pod, requestedRole) => decide({ pod, requestedRole, ...ruleFor(pod), baseArn: '' }),
    permits: (pod) => {
      const { expression } = ruleFor(pod);
      return expression.ok && expression.matches(pod.role);
    },
  };
}
