import type { StsError } from './answers.ts';
import type { CallerIdentity } from './identities.ts';

export interface AssumeRoleInput {
  readonly roleArn: string;
  readonly sessionName: string;
  readonly durationSeconds: number;
  readonly externalId: string;
}

export type AssumeRoleCheck =
  | { readonly ok: true; readonly input: AssumeRoleInput }
  | { readonly ok: false; readonly error: StsError };

const DEFAULT_SECONDS = 3600;
const CHAINED_SECONDS = 3600;
const ROLE_ARN = /^arn:[^:]+:iam::\d{12}:role\/[\u0020-\u007e\u0085\u00a0-\uffff]+$/;

/** The rules of https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
export function checkAssumeRole(parameters: URLSearchParams, caller: CallerIdentity): AssumeRoleCheck {
  const input = {
    roleArn: parameters.get('RoleArn') ?? '',
    sessionName: parameters.get('RoleSessionName') ?? '',
    durationSeconds: Number(parameters.get('DurationSeconds') ?? DEFAULT_SECONDS),
    externalId: parameters.get('ExternalId') ?? '',
  };
  const problems = [
    ...textProblems('roleArn', parameters.get('RoleArn'), { least: 20, most: 2048, pattern: undefined }),
    ...textProblems('roleSessionName', parameters.get('RoleSessionName'), {
      least: 2,
      most: 64,
      pattern: '[\\w+=,.@-]*',
    }),
    ...durationProblems(input.durationSeconds),
    ...(parameters.has('ExternalId')
      ? textProblems('externalId', input.externalId, { least: 2, most: 1224, pattern: '[\\w+=,.@:\\/-]*' })
      : []),
  ];
  if (problems.length > 0) {
    const noun = problems.length === 1 ? 'error' : 'errors';
    return invalid(`${problems.length} validation ${noun} detected: ${problems.join('; ')}`);
  }
  if (!ROLE_ARN.test(input.roleArn)) return invalid(`${input.roleArn} is invalid`);
  if (caller.roleArn !== undefined && input.durationSeconds > CHAINED_SECONDS) {
    return invalid('The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining');
  }
  return { ok: true, input };
}

interface TextRule {
  readonly least: number;
  readonly most: number;
  readonly pattern: string | undefined;
}

function textProblems(name: string, value: string | null, rule: TextRule): string[] {
  if (value === null) return [`Value null at '${name}' failed to satisfy constraint: Member must not be null`];
  const problem = (constraint: string): string =>
    `Value '${value}' at '${name}' failed to satisfy constraint: Member must ${constraint}`;
  if (value.length < rule.least) return [problem(`have length greater than or equal to ${rule.least}`)];
  if (value.length > rule.most) return [problem(`have length less than or equal to ${rule.most}`)];
  if (rule.pattern !== undefined && !new RegExp(`^${rule.pattern}$`).test(value)) {
    return [problem(`satisfy regular expression pattern: ${rule.pattern}`)];
  }
  return [];
}

function durationProblems(seconds: number): string[] {
  const problem = (constraint: string): string[] => [
    `Value '${seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value ${constraint}`,
  ];
  if (!Number.isInteger(seconds) || seconds < 900) return problem('greater than or equal to 900');
  return seconds > 43_200 ? problem('less than or equal to 43200') : [];
}

function invalid(message: string): AssumeRoleCheck {
  return { ok: false, error: { status: 400, code: 'ValidationError', message } };
}
