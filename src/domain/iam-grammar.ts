import { shortened } from '#runtime/text.ts';

/**
 * What AWS accepts in a call of AssumeRole: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
 * Each function returns undefined for a value that AWS accepts, and otherwise what is wrong with it, in a form that says how to
 * fix it. Lengths are in characters; every character allowed is one unit of UTF-16.
 */

export const LONGEST_ROLE_ARN = 2048;
const SHORTEST_ROLE_ARN = 20;

/** In any partition: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns */
const ROLE_ARN = /^arn:([^:]*):iam::([^:]*):role\/(.+)$/s;
const PARTITION = /^aws[a-z-]*$/;
const ACCOUNT = /^\d{12}$/;

/** RoleName and Path: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html */
const ROLE_NAME = /^[\w+=,.@-]{1,64}$/;
const ROLE_PATH = /^[\x21-\x7e]{0,511}$/;

export function roleArnProblem(arn: string): string | undefined {
  if (arn.length > LONGEST_ROLE_ARN) return `the role is longer than ${LONGEST_ROLE_ARN} characters`;
  const [, partition = '', account = '', rest = ''] = ROLE_ARN.exec(arn) ?? [];
  if (rest === '') return `${quote(arn)} is not the ARN of a role`;
  if (!PARTITION.test(partition)) return `${quote(partition)} is no partition of AWS: ARNs begin with arn:aws`;
  if (!ACCOUNT.test(account)) return `${quote(account)} is no account of AWS: an account has 12 digits`;
  const slash = rest.lastIndexOf('/');
  const [path, name] = [rest.slice(0, Math.max(0, slash)), rest.slice(slash + 1)];
  if (!ROLE_NAME.test(name)) {
    return `${quote(name)} cannot be the name of a role: that has 1 to 64 letters, digits and +=,.@_-`;
  }
  if (!ROLE_PATH.test(path)) {
    return `${quote(path)} cannot be the path of a role: that is ASCII without blanks, of at most 512 characters`;
  }
  return arn.length < SHORTEST_ROLE_ARN ? `${quote(arn)} is shorter than ${SHORTEST_ROLE_ARN} characters` : undefined;
}

const EXTERNAL_ID = /^[\w+=,.@:/-]{2,1224}$/;
export const LONGEST_EXTERNAL_ID = 1224;

/** No text contains the value itself, because an external id is half secret. `''` stands for none, which is valid. */
export function externalIdProblem(externalId: string): string | undefined {
  if (externalId === '' || EXTERNAL_ID.test(externalId)) return undefined;
  return `an external id has 2 to ${LONGEST_EXTERNAL_ID} letters, digits and +=,.@:/_-`;
}

export const SHORTEST_SESSION_NAME = 2;
export const LONGEST_SESSION_NAME = 64;
const SESSION_NAME = /^[\w+=,.@-]{2,64}$/;

export function sessionNameProblem(sessionName: string): string | undefined {
  return SESSION_NAME.test(sessionName) ? undefined : 'a session name has 2 to 64 letters, digits and +=,.@_-';
}

/** `''` stands for none, which is valid. */
export function sourceIdentityProblem(sourceIdentity: string): string | undefined {
  if (sourceIdentity === '' || SESSION_NAME.test(sourceIdentity)) return undefined;
  return 'a source identity has 2 to 64 letters, digits and +=,.@_-';
}

export const MOST_TAGS = 50;
export const LONGEST_TAG_KEY = 128;
export const LONGEST_TAG_VALUE = 256;

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html */
const TAG_TEXT = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const TAG_CHARACTERS = 'letters, digits, spaces and _.:/=+-@';

export function tagKeyProblem(key: string): string | undefined {
  const length = Array.from(key).length;
  if (length === 0 || length > LONGEST_TAG_KEY || !TAG_TEXT.test(key)) {
    return `the key of a session tag has 1 to ${LONGEST_TAG_KEY} ${TAG_CHARACTERS}`;
  }
  return key.toLowerCase().startsWith('aws:') ? 'keys of tags that begin with aws: are reserved for AWS' : undefined;
}

export function tagValueProblem(value: string): string | undefined {
  if (Array.from(value).length <= LONGEST_TAG_VALUE && TAG_TEXT.test(value)) return undefined;
  return `the value of a session tag has at most ${LONGEST_TAG_VALUE} ${TAG_CHARACTERS}`;
}

/** Of all the tags of one session. AWS takes keys that differ in case alone for one. */
export function sessionTagsProblem(tags: readonly (readonly [key: string, value: string])[]): string | undefined {
  if (tags.length > MOST_TAGS) return `a session has at most ${MOST_TAGS} tags`;
  if (new Set(tags.map(([key]) => key.toLowerCase())).size < tags.length) return 'a session has each tag once';
  for (const [key, value] of tags) {
    const problem = tagKeyProblem(key) ?? tagValueProblem(value);
    if (problem !== undefined) return `the session tag ${quote(key)} is not valid: ${problem}`;
  }
  return undefined;
}

/**
 * Whether the ARN of a session is that of the role and the session name that were asked for. The ARN of a session leaves the
 * role's path out; within an account no two roles have the same name, whatever its case and their paths
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
 */
export function isSessionOf(sessionArn: string, roleArn: string, sessionName: string): boolean {
  const [, partition = '', account = '', rest = ''] = ROLE_ARN.exec(roleArn) ?? [];
  const role = `arn:${partition}:sts::${account}:assumed-role/${rest.slice(rest.lastIndexOf('/') + 1)}/`;
  return (
    rest !== '' &&
    sessionArn.slice(0, role.length).toLowerCase() === role.toLowerCase() &&
    sessionArn.slice(role.length) === sessionName
  );
}

function quote(text: string): string {
  return `'${shortened(text, 100)}'`;
}
