import { createExpressions, permittedAnnotation } from '#domain/allowed-roles.ts';
import type { Expression } from '#domain/expression.ts';
import { type Identity, identityKey, identityOf } from '#domain/identity.ts';
import { type NamespaceRecord, PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import type { PodRecord } from '#domain/pod.ts';
import { decide } from '#domain/policy.ts';
import { resolveRole } from '#domain/role.ts';
import { shortened } from '#runtime/text.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';
import { expressionAdvice } from './expression-advice.ts';
import { type Cluster, isShort, namesOf, servedPodsByNamespace } from './cluster.ts';

/** Namespaces whose pods get nothing: without an expression, with one that is broken, or with one that forbids their roles. */
export function checkNamespaces(cluster: Cluster): Observation[] {
  const podsOf = servedPodsByNamespace(cluster);
  const expressionOf = createExpressions(cluster);
  const observations = cluster.namespaces.flatMap((namespace) => {
    const pods = podsOf.get(namespace.name) ?? [];
    if (namespace.permitted === '' && namespace.isList !== true)
      return pods.length === 0 ? [] : [withoutExpression(namespace, pods)];
    const expression = expressionOf(namespace);
    if (!expression.ok) return [broken(namespace, expression.reason)];
    return forbidden(namespace, expression, pods, cluster.baseArn);
  });
  if (observations.length > 0) return observations;
  return [
    ok(`${podsOf.size} ${podsOf.size === 1 ? 'namespace permits' : 'namespaces permit'} the roles of their pods`),
  ];
}

function withoutExpression({ name }: NamespaceRecord, pods: readonly PodRecord[]): Observation {
  const says = `${name} has no annotation ${PERMITTED_ANNOTATION}, so that its pods get nothing: ${namesOf(pods)}`;
  return wrong(says, `kubectl annotate namespace ${name} ${PERMITTED_ANNOTATION}='…' with what matches the whole ARN`);
}

function broken(namespace: NamespaceRecord, reason: string): Observation {
  const { name, permitted, isList } = namespace;
  const what = isList === true ? 'list' : 'expression';
  const says = `${name}: the ${what} ${quote(permitted)} is invalid, so that its pods get nothing: ${reason}`;
  const advice =
    isList === true ? 'write it in JSON, as in ["reader","team-a/*"]' : expressionAdvice(permitted, reason);
  return wrong(says, advice);
}

/** One observation for each role that the expression does not match, and one for those that cannot be resolved. */
function forbidden(
  namespace: NamespaceRecord,
  expression: Extract<Expression, { ok: true }>,
  pods: readonly PodRecord[],
  baseArn: string | undefined,
): Observation[] {
  const { name, permitted } = namespace;
  const observations: Observation[] = [];
  const isUnknown = (pod: PodRecord): boolean => baseArn === undefined && isShort(pod.role);
  const unknown = pods.filter(isUnknown);
  if (unknown.length > 0) {
    const says = `${name}: the ARN of the short role of ${namesOf(unknown)} is not known`;
    observations.push(cannotTell(says, 'give --role-base-arn as the server has it'));
  }
  const judged = pods.filter((pod) => !isUnknown(pod));
  for (const alike of Map.groupBy(judged, (pod) => pod.role).values()) {
    const [pod] = alike;
    const resolved = resolveRole(pod?.role ?? '', baseArn ?? '');
    if (pod === undefined || !resolved.ok || expression.matches(resolved.role.arn)) continue;
    const { arn } = resolved.role;
    const kiam = expression.matchesAsKiam(arn) ? '; Kiam 4 would have permitted it' : '';
    const says = `${name}: ${quote(permitted)} does not match ${arn}, the role of ${namesOf(alike)}${kiam}`;
    const fix = `${permittedAnnotation(namespace)} must match the whole ARN of a role, from arn: to its name`;
    observations.push(wrong(says, fix));
  }
  return observations;
}

/** What the server assumes for pods that policy allows, each identity once. */
export function identitiesInUse(cluster: Cluster): Identity[] {
  const expressionOf = createExpressions(cluster);
  const namespaces = new Map(cluster.namespaces.map((namespace) => [namespace.name, namespace]));
  const identities = new Map<string, Identity>();
  for (const pod of [...servedPodsByNamespace(cluster).values()].flat()) {
    const namespace = namespaces.get(pod.namespace);
    const expression = expressionOf(namespace);
    const baseArn = cluster.baseArn ?? '';
    const decision = decide({ pod, requestedRole: pod.role, namespace, expression, baseArn });
    if (!decision.allowed) continue;
    const identity = identityOf(pod, decision.roleArn, cluster.sessions);
    identities.set(identityKey(identity), identity);
  }
  return [...identities.values()];
}

function quote(text: string): string {
  return `'${shortened(text, 100)}'`;
}
