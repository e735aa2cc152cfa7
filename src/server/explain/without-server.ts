import { compilePermitted, type PermittedRules } from '#domain/allowed-roles.ts';
import type { PodRecord } from '#domain/pod.ts';
import { type Decision, decide } from '#domain/policy.ts';
import { type RoleResolution, resolveRole } from '#domain/role.ts';

import type { NamespaceView } from '../ports.ts';

/** Any valid one: it serves for refusals that name no ARN. */
const SOME_BASE_ARN = 'arn:aws:iam::000000000000:role/';

/** The ARN of a role; undefined for a short name whose base is not known. */
export function resolveWithoutServer(
  role: string,
  { baseArn }: Pick<PermittedRules, 'baseArn'>,
): RoleResolution | undefined {
  return baseArn === undefined && !role.startsWith('arn:') ? undefined : resolveRole(role, baseArn ?? '');
}

/** What a server with these flags would decide; undefined where that depends on a base ARN that is not known. */
export function decideWithoutServer(
  pod: PodRecord,
  namespaces: Pick<NamespaceView, 'get'>,
  rules: PermittedRules,
): Decision | undefined {
  const namespace = namespaces.get(pod.namespace);
  const expression = compilePermitted(namespace ?? { permitted: '' }, rules);
  const question = { pod, requestedRole: pod.role, namespace, expression };
  // Without an expression that could match, nothing depends on the ARN.
  const couldMatch = namespace !== undefined && namespace.permitted !== '' && expression.ok;
  // Entries of a list may be short as well.
  const isListWithoutBase = namespace?.isList === true && rules.baseArn === undefined;
  if (resolveWithoutServer(pod.role, rules) !== undefined && !isListWithoutBase) {
    return decide({ ...question, baseArn: rules.baseArn ?? '' });
  }
  return couldMatch ? undefined : decide({ ...question, baseArn: SOME_BASE_ARN });
}
