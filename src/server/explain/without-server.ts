import { compileExpression } from '#domain/expression.ts';
import type { PodRecord } from '#domain/pod.ts';
import { type Decision, decide } from '#domain/policy.ts';
import { type RoleResolution, resolveRole } from '#domain/role.ts';

import type { NamespaceView } from '../ports.ts';

export interface FlagsOfServers {
  /** `--role-base-arn`; undefined when it is not known. */
  readonly baseArn: string | undefined;
  /** False with `--disable-strict-namespace-regexp`. */
  readonly strict: boolean;
}

/** Any valid one: it serves for refusals that name no ARN. */
const SOME_BASE_ARN = 'arn:aws:iam::000000000000:role/';

/** The ARN of a role; undefined for a short name whose base is not known. */
export function resolveWithoutServer(role: string, { baseArn }: FlagsOfServers): RoleResolution | undefined {
  return baseArn === undefined && !role.startsWith('arn:') ? undefined : resolveRole(role, baseArn ?? '');
}

/** What a server with these flags would decide; undefined where that depends on a base ARN that is not known. */
export function decideWithoutServer(
  pod: PodRecord,
  namespaces: Pick<NamespaceView, 'get'>,
  flags: FlagsOfServers,
): Decision | undefined {
  const namespace = namespaces.get(pod.namespace);
  const expression = compileExpression(namespace?.permitted ?? '', flags.strict);
  const question = { pod, requestedRole: pod.role, namespace, expression };
  if (resolveWithoutServer(pod.role, flags) !== undefined) return decide({ ...question, baseArn: flags.baseArn ?? '' });
  // Without an expression that could match, nothing depends on the ARN.
  const couldMatch = namespace !== undefined && namespace.permitted !== '' && expression.ok;
  return couldMatch ? undefined : decide({ ...question, baseArn: SOME_BASE_ARN });
}
