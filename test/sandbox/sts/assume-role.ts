import type { StsError } from './answers.ts';
import type { CallerIdentity, SessionTags } from './identities.ts';

export interface AssumeRoleInput {
  readonly roleArn: string;
  readonly sessionName: string;
  readonly durationSeconds: number;
  readonly externalId: string;
  readonly sourceIdentity: string;
  readonly tags: SessionTags;
  readonly transitiveKeys: readonly string[];
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
    sourceIdentity: parameters.get('SourceIdentity') ?? '',
    tags: tagsOf(parameters),
    transitiveKeys: listOf(parameters, 'TransitiveTagKeys'),
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
    ...(parameters.has('SourceIdentity')
      ? textProblems('sourceIdentity', input.sourceIdentity, { least: 2, most: 64, pattern: '[\\w+=,.@-]*' })
      : []),
    ...tagProblems(input.tags),
  ];
  if (problems.length > 0) {
    const noun = problems.length === 1 ? 'error' : 'errors';
    return invalid(`${problems.length} validation ${noun} detected: ${problems.join('; ')}`);
  }
  if (!ROLE_ARN.test(input.roleArn)) return invalid(`${input.roleArn} is invalid`);
  if (caller.roleArn !== undefined && input.durationSeconds > CHAINED_SECONDS) {
    return invalid('The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining');
  }
  const refusal = inheritanceProblem(input, caller);
  return refusal === undefined ? { ok: true, input } : { ok: false, error: refusal };
}

/** AWS packs tags and policies in a manner of its own: here a byte is a byte. */
const ALLOTTED_BYTES = 4096;

/** 0 where there is nothing to pack. */
export function packedPercentOf({ tags }: AssumeRoleInput, policy: string): number {
  const bytes = Buffer.byteLength(policy) + Buffer.byteLength(tags.flat().join(''));
  return Math.ceil((100 * bytes) / ALLOTTED_BYTES);
}

/** `Tags.member.N.Key` and `.Value`, in the order of N. */
export function tagsOf(parameters: URLSearchParams): SessionTags {
  const tags: [string, string][] = [];
  for (let number = 1; parameters.has(`Tags.member.${number}.Key`); number += 1) {
    const value = parameters.get(`Tags.member.${number}.Value`) ?? '';
    tags.push([parameters.get(`Tags.member.${number}.Key`) ?? '', value]);
  }
  return tags;
}

function listOf(parameters: URLSearchParams, name: string): readonly string[] {
  const values: string[] = [];
  for (let number = 1; parameters.has(`${name}.member.${number}`); number += 1) {
    values.push(parameters.get(`${name}.member.${number}`) ?? '');
  }
  return values;
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html, and keys are the same whatever their case. */
function tagProblems(tags: SessionTags): string[] {
  const name = 'tags';
  if (tags.length > 50)
    return [`Value at '${name}' failed to satisfy constraint: Member must have length less than 51`];
  const pattern = '[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*';
  const problems = tags.flatMap(([key, value], index) => [
    ...textProblems(`${name}.${index + 1}.member.key`, key, { least: 1, most: 128, pattern }),
    ...textProblems(`${name}.${index + 1}.member.value`, value, { least: 0, most: 256, pattern }),
    ...(key.toLowerCase().startsWith('aws:') ? [`tag keys must not begin with aws: (${key})`] : []),
  ]);
  const keys = new Set(tags.map(([key]) => key.toLowerCase()));
  return keys.size < tags.length ? [...problems, 'Duplicate tag keys found'] : problems;
}

/** What a session passes on can be set again neither as a tag nor as a source identity. */
function inheritanceProblem({ tags, sourceIdentity }: AssumeRoleInput, caller: CallerIdentity): StsError | undefined {
  const inherited = tags.some(([key]) =>
    caller.transitiveTags.some(([own]) => own.toLowerCase() === key.toLowerCase()),
  );
  if (inherited) {
    const message =
      "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.";
    return { status: 400, code: 'InvalidParameterValue', message };
  }
  if (sourceIdentity === '' || caller.sourceIdentity === '' || caller.sourceIdentity === sourceIdentity)
    return undefined;
  return { status: 403, code: 'AccessDenied', message: 'the source identity of the caller cannot be changed' };
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
  if (rule.pattern !== undefined && !new RegExp(`^${rule.pattern}$`, 'u').test(value)) {
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
