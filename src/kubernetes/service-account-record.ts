import { LONGEST_ROLE_ARN } from '#domain/iam-grammar.ts';
import { ROLE_ANNOTATION } from '#domain/pod.ts';
import { EKS_ROLE_ANNOTATION, SESSION_TAG_PREFIX, type ServiceAccountRecord } from '#domain/service-account.ts';
import { createInterner } from './interner.ts';
import { field, isObject, textField } from './json-fields.ts';
import { TOO_LONG_FOR_A_ROLE, wholeOr } from './pod-record.ts';

/**
 * What STS takes at most (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html). What is longer is replaced by
 * a text that is refused for its length, and of more tags than 50 one more is kept, so that their number is refused.
 */
const LONGEST_TAG_KEY = 128;
const LONGEST_TAG_VALUE = 256;
const MOST_TAGS = 50;
const TOO_LONG_FOR_A_TAG = '(too long) '.repeat(24);

/** Makes the reader of ServiceAccounts as the API server sends them. It returns undefined only for what has no UID, name or namespace. */
export function createServiceAccountParser(): (value: unknown) => ServiceAccountRecord | undefined {
  const intern = createInterner();
  return (value) => {
    const metadata = field(value, 'metadata');
    const annotations = field(metadata, 'annotations');
    const uid = textField(metadata, 'uid');
    const name = textField(metadata, 'name');
    const namespace = textField(metadata, 'namespace');
    if (uid === '' || name === '' || namespace === '') return undefined;
    const role = (annotation: string): string =>
      intern(wholeOr(TOO_LONG_FOR_A_ROLE, textField(annotations, annotation), LONGEST_ROLE_ARN));
    return {
      uid,
      namespace: intern(namespace),
      name: intern(name),
      resourceVersion: textField(metadata, 'resourceVersion'),
      role: role(ROLE_ANNOTATION),
      eksRole: role(EKS_ROLE_ANNOTATION),
      sessionTags: sessionTagsOf(annotations),
    };
  };
}

const NO_TAGS: ServiceAccountRecord['sessionTags'] = [];

function sessionTagsOf(annotations: unknown): ServiceAccountRecord['sessionTags'] {
  if (!isObject(annotations)) return NO_TAGS;
  const names = Object.keys(annotations)
    .filter((name) => name.startsWith(SESSION_TAG_PREFIX))
    .sort();
  if (names.length === 0) return NO_TAGS;
  return names
    .slice(0, MOST_TAGS + 1)
    .map((name) => [
      wholeOr(TOO_LONG_FOR_A_TAG, name.slice(SESSION_TAG_PREFIX.length), LONGEST_TAG_KEY),
      wholeOr(TOO_LONG_FOR_A_TAG, textField(annotations, name), LONGEST_TAG_VALUE),
    ]);
}

export function serviceAccountsDiffer(left: ServiceAccountRecord, right: ServiceAccountRecord): boolean {
  return (
    left.uid !== right.uid ||
    left.role !== right.role ||
    left.eksRole !== right.eksRole ||
    JSON.stringify(left.sessionTags) !== JSON.stringify(right.sessionTags)
  );
}
