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
 * A role's ARN, in any partition: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns.
 * What follows `role/` is left to STS; Kiam passes it on as it is.
 */
const ROLE_ARN = /^arn:[^:]*:iam::[^:]*:role\/(.+)$/s;

/** RoleArn may have 20 to 2048 characters: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const LONGEST_ARN = 2048;

/**
 * Turns a role as annotated or asked for into its ARN (Kiam, `pkg/aws/sts/resolver_prefix.go`): an ARN is taken as it is;
 * otherwise a leading slash is dropped and `baseArn` prepended. Total: what can be no role is refused with a reason.
 */
export function resolveRole(role: string, baseArn: string): RoleResolution {
  if (role === '') return { ok: false, reason: "role can't be empty" };
  const shortName = role.startsWith('arn:') ? undefined : role.replace(/^\//, '');
  const arn = shortName === undefined ? role : baseArn + shortName;
  if (arn.length > LONGEST_ARN) return { ok: false, reason: `the role is longer than ${LONGEST_ARN} characters` };
  const path = ROLE_ARN.exec(arn)?.[1];
  if (path === undefined) return { ok: false, reason: `'${arn}' is not the ARN of a role` };
  return { ok: true, role: { arn, name: shortName ?? path } };
}

/**
 * The prefix for short role names, out of an instance profile's ARN as `iam/info` gives it:
 * `arn:aws:iam::1:instance-profile/p/x` becomes `arn:aws:iam::1:role/` (Kiam, `pkg/aws/sts/arn_prefix.go`).
 */
export function baseArnOfInstanceProfile(instanceProfileArn: string): string | undefined {
  const prefix = /^(arn:[^:]+:iam::\d+:)instance-profile\//.exec(instanceProfileArn)?.[1];
  return prefix === undefined ? undefined : `${prefix}role/`;
}
