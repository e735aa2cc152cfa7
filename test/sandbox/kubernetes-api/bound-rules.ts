import { type Json, listAt, textAt } from '../json.ts';
import type { Rule } from './access.ts';
import type { Objects } from './object-writer.ts';
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES } from './resources.ts';

/** The rules of the ClusterRoles that ClusterRoleBindings give to a service account, by its full user name. */
export function boundRules(objects: Objects, userName: string): readonly Rule[] {
  const bindings = [...objects.collection(CLUSTER_ROLE_BINDINGS).versions()].map(({ object }) => object.content);
  return bindings
    .filter((binding) => listAt(binding, 'subjects').some((subject) => isSubject(subject, userName)))
    .map((binding) => objects.collection(CLUSTER_ROLES).get('', textAt(binding, 'roleRef', 'name')))
    .flatMap((role) => listAt(role?.object.content, 'rules').map(readRule));
}

function isSubject(subject: Json, userName: string): boolean {
  const name = textAt(subject, 'name');
  if (textAt(subject, 'kind') !== 'ServiceAccount') return textAt(subject, 'kind') === 'User' && name === userName;
  return userName === `system:serviceaccount:${textAt(subject, 'namespace')}:${name}`;
}

function readRule(rule: Json): Rule {
  const texts = (field: string): readonly string[] => listAt(rule, field).filter((text) => typeof text === 'string');
  const resourceNames = texts('resourceNames');
  return {
    apiGroups: texts('apiGroups'),
    resources: texts('resources'),
    verbs: texts('verbs'),
    nonResourceURLs: texts('nonResourceURLs'),
    ...(resourceNames.length === 0 ? {} : { resourceNames }),
  };
}
