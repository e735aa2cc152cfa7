import { roleArnProblem } from './iam-grammar.ts';

/** A role that AWS could be asked for. */
export interface ResolvedRole {
  readonly arn: string;
  /** The name as Kiam shows it: what follows `role/` in a given ARN, the given short name without its leading slash. */
  readonly name: string;
}

export type RoleResolution =
  | { readonly ok: true; readonly role: ResolvedRole }
  | { readonly ok: false; readonly reason: string };

/**
 * Turns a role as annotated or asked for into its ARN (Kiam, `pkg/aws/sts/resolver_prefix.go`): an ARN is taken as it is;
 * otherwise a leading slash is dropped and `baseArn` prepended. Total: what can be no role is refused with a reason.
 */
export function resolveRole(role: string, baseArn: string): RoleResolution {
  if (role === '') return { ok: false, reason: "role can't be empty" };
  const shortName = role.startsWith('arn:') ? undefined : role.replace(/^\//, '');
  const arn = shortName === undefined ? role : baseArn + shortName;
  const problem = roleArnProblem(arn);
  if (problem !== undefined) return { ok: false, reason: problem };
  return { ok: true, role: { arn, name: shortName ?? arn.slice(arn.indexOf(':role/') + ':role/'.length) } };
}

/**
 * The prefix for short role names, out of an instance profile's ARN as `iam/info` gives it:
 * `arn:aws:iam::1:instance-profile/p/x` becomes `arn:aws:iam::1:role/` (Kiam, `pkg/aws/sts/arn_prefix.go`).
 */
export function baseArnOfInstanceProfile(instanceProfileArn: string): string | undefined {
  const prefix = /^(arn:[^:]+:iam::\d+:)instance-profile\//.exec(instanceProfileArn)?.[1];
  return prefix === undefined ? undefined : `${prefix}role/`;
}
