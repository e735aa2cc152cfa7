import { LONGEST_ROLE_ARN } from '#domain/iam-grammar.ts';
import { ROLE_ANNOTATION } from '#domain/pod.ts';
import { EKS_ROLE_ANNOTATION, type ServiceAccountRecord, tagsDiffer } from '#domain/service-account.ts';
import { createInterner } from './interner.ts';
import { field, textField } from './json-fields.ts';
import { TOO_LONG_FOR_A_ROLE, wholeOr } from './pod-record.ts';
import { sessionTagsIn } from './session-tags.ts';

/**
 * Makes the reader of ServiceAccounts as the API server sends them. It returns undefined only for what has no UID, name or
 * namespace.
 */
export function createServiceAccountParser(
  allowedTags: readonly string[],
): (value: unknown) => ServiceAccountRecord | undefined {
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
      ...sessionTagsIn(annotations, allowedTags),
    };
  };
}

export function serviceAccountsDiffer(left: ServiceAccountRecord, right: ServiceAccountRecord): boolean {
  return (
    left.uid !== right.uid ||
    left.role !== right.role ||
    left.eksRole !== right.eksRole ||
    left.ignoredTag !== right.ignoredTag ||
    tagsDiffer(left.sessionTags, right.sessionTags)
  );
}
