import { ALLOWED_ROLES_ANNOTATION, LONGEST_LIST } from '#domain/allowed-roles.ts';
import { PERMITTED_ANNOTATION, type NamespaceRecord } from '#domain/namespace.ts';
import { field, textField } from './json-fields.ts';
import type { StoredObject } from './object-store.ts';

/** An expression of over 4096 bytes is refused unread (domain/expression.ts); one character more keeps it refused. */
const KEPT_OF_EXPRESSION = 4097;

/** A namespace's record, with the UID that distinguishes it from a later one of the same name. */
export interface StoredNamespace extends NamespaceRecord, StoredObject {}

/**
 * Reads a namespace as the API server sends it, with so much of its expression, which stands in `annotation`; undefined for
 * what has no UID or name.
 */
export function parseNamespaceObject(
  value: unknown,
  keptOfExpression = KEPT_OF_EXPRESSION,
  annotation = PERMITTED_ANNOTATION,
): StoredNamespace | undefined {
  const metadata = field(value, 'metadata');
  const uid = textField(metadata, 'uid');
  const name = textField(metadata, 'name');
  if (uid === '' || name === '') return undefined;
  return {
    uid,
    namespace: '',
    name,
    resourceVersion: textField(metadata, 'resourceVersion'),
    permitted: textField(field(metadata, 'annotations'), annotation).slice(0, keptOfExpression),
  };
}

/**
 * As {@link parseNamespaceObject}; where the namespace has kube2iam's list of roles, even an empty one, that list counts in
 * place of the expression.
 */
export function parseNamespaceWithList(value: unknown): StoredNamespace | undefined {
  const list = field(field(field(value, 'metadata'), 'annotations'), ALLOWED_ROLES_ANNOTATION);
  if (typeof list !== 'string') return parseNamespaceObject(value);
  const namespace = parseNamespaceObject(value, LONGEST_LIST + 1, ALLOWED_ROLES_ANNOTATION);
  return namespace && { ...namespace, isList: true };
}

/** The reader of namespaces for `--namespace-policy`; undefined for Kiam's, where callers keep more or less of the expression. */
export function listReader(policy: 'kiam' | 'kube2iam'): typeof parseNamespaceWithList | undefined {
  return policy === 'kube2iam' ? parseNamespaceWithList : undefined;
}

export function namespacesDiffer(left: NamespaceRecord, right: NamespaceRecord): boolean {
  return left.permitted !== right.permitted || left.isList !== right.isList;
}
