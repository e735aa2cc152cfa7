import { PERMITTED_ANNOTATION } from '#domain/namespace.ts';
import { EXTERNAL_ID_ANNOTATION, ROLE_ANNOTATION, SESSION_NAME_ANNOTATION } from '#domain/pod.ts';

import { type Binding, EKS_ROLE_ANNOTATION, SESSION_TAG_PREFIX } from '#domain/service-account.ts';

import { ADVICE, JUDGEMENTS, RULES, type PolicyRule } from './rules.ts';

/** What is done with an object that cannot work: a warning to whoever applies it and a line in the audit log, or a refusal. */
export type Action = 'warn' | 'deny';

/** The flags of the cluster's servers that decide about objects. */
export interface AdmissionOptions {
  readonly action: Action;
  /** Where the ConfigMap of parameters is. */
  readonly namespace: string;
  readonly baseArn: string;
  /** False with `--disable-strict-namespace-regexp`. */
  readonly strict: boolean;
  /** `--binding`: whose annotations count. */
  readonly binding: Binding;
  /** `--container-credentials`: pods with hostNetwork are served too, by their tokens. */
  readonly containerCredentials: boolean;
  /** `--allowed-session-tags` */
  readonly allowedTags: readonly string[];
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** The name of the policy, its binding and the ConfigMap of its parameters. */
export const ADMISSION_POLICY = 'kiam';
const ADVICE_NAME = 'kiam-advice';
const LABELS = { app: 'kiam' };
const API = 'admissionregistration.k8s.io/v1';

/**
 * The manifests by which the API server itself judges objects when they are applied, with the rules of the server's policy
 * (`domain/policy.ts`): https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ (v1 since 1.30).
 * No process of Kiam takes part. What may work but is probably not meant is never more than a warning.
 */
export function admissionManifests(options: AdmissionOptions): readonly Manifest[] {
  const { action, namespace, baseArn, strict, binding: bound, containerCredentials, allowedTags } = options;
  const parameters: Manifest = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: ADMISSION_POLICY, namespace, labels: LABELS },
    data: {
      baseArn,
      strict: String(strict),
      binding: bound,
      containerCredentials: String(containerCredentials),
      allowedSessionTags: allowedTags.join(','),
    },
  };
  const warned = ['Warn', 'Audit'];
  if (action === 'warn')
    return [parameters, policy(ADMISSION_POLICY, [...RULES, ...ADVICE]), binding(ADMISSION_POLICY, namespace, warned)];
  return [
    parameters,
    policy(ADMISSION_POLICY, RULES),
    binding(ADMISSION_POLICY, namespace, ['Deny']),
    policy(ADVICE_NAME, ADVICE),
    binding(ADVICE_NAME, namespace, warned),
  ];
}

function policy(name: string, rules: readonly PolicyRule[]): Manifest {
  return {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name, labels: LABELS },
    spec: {
      // An expression that does not compile is an error in CEL, which only `Fail` turns into a refusal.
      failurePolicy: 'Fail',
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
      matchConstraints: { resourceRules: RESOURCES },
      variables: Object.entries(VARIABLES).map(([variable, expression]) => ({ name: variable, expression })),
      validations: rules.map(({ holds, message }) => ({
        expression: `!variables.isChanged || (${holds})`,
        messageExpression: message,
      })),
    },
  };
}

function binding(name: string, namespace: string, validationActions: readonly string[]): Manifest {
  return {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name, labels: LABELS },
    spec: {
      policyName: name,
      // Without its parameters the policy must not stop a whole cluster: the servers still refuse what they do not permit.
      paramRef: { name: ADMISSION_POLICY, namespace, parameterNotFoundAction: 'Allow' },
      validationActions,
    },
  };
}

const RESOURCES = [
  { apiGroups: [''], resources: ['pods', 'namespaces', 'serviceaccounts'] },
  { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'daemonsets', 'replicasets'] },
  { apiGroups: ['batch'], resources: ['jobs', 'cronjobs'] },
].map((rule) => ({ ...rule, apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'] }));

/** The object itself, or the template of the pods that it makes. */
const templateOf = (object: string): string => `${object}.kind in ['Pod', 'Namespace', 'ServiceAccount'] ? ${object}
  : ${object}.kind == 'CronJob' ? ${object}.spec.jobTemplate.spec.template : ${object}.spec.template`;

const annotationsOf = (object: string): string =>
  `has(${object}.metadata) && has(${object}.metadata.annotations) ? ${object}.metadata.annotations : {}`;

/** `''` for an annotation that is not there. */
const valueOf = (annotations: string, name: string): string => `(${annotations}[?'${name}'].orValue(''))`;

const hostNetworkOf = (template: string): string =>
  `has(${template}.spec) && has(${template}.spec.hostNetwork) && ${template}.spec.hostNetwork`;

const JUDGED = [
  ROLE_ANNOTATION,
  SESSION_NAME_ANNOTATION,
  EXTERNAL_ID_ANNOTATION,
  PERMITTED_ANNOTATION,
  EKS_ROLE_ANNOTATION,
];
const judged = (suffix: string): string =>
  `[${JUDGED.map((name) => valueOf(`variables.annotations${suffix}`, name)).join(', ')}, string(variables.hostNetwork${suffix})]`;

/** In CEL, each by those before it. They are evaluated at their first use. */
const VARIABLES: Readonly<Record<string, string>> = {
  template: templateOf('object'),
  annotations: annotationsOf('variables.template'),
  hostNetwork: hostNetworkOf('variables.template'),
  templateBefore: `oldObject == null ? {} : ${templateOf('oldObject')}`,
  annotationsBefore: annotationsOf('variables.templateBefore'),
  hostNetworkBefore: hostNetworkOf('variables.templateBefore'),
  // An update is judged only where it changes something that is judged: objects that were there before the policy can still be
  // scaled and deleted.
  isChanged: `oldObject == null || ${judged('')} != ${judged('Before')}
  || variables.annotations.exists(name, name.startsWith('${SESSION_TAG_PREFIX}') && variables.annotationsBefore[?name] != optional.of(variables.annotations[name]))`,
  counts: `params.data.binding != (object.kind == 'ServiceAccount' ? 'pod' : 'serviceaccount')`,
  role: `object.kind == 'Namespace' || !variables.counts ? ''
  : object.kind != 'ServiceAccount' || ${valueOf('variables.annotations', ROLE_ANNOTATION)} != '' ? ${valueOf('variables.annotations', ROLE_ANNOTATION)}
  : ${valueOf('variables.annotations', EKS_ROLE_ANNOTATION)}`,
  // The annotation of EKS takes an ARN and no short name.
  arn: `variables.role.startsWith('arn:') || (object.kind == 'ServiceAccount' && ${valueOf('variables.annotations', ROLE_ANNOTATION)} == '') ? variables.role
  : params.data.baseArn + (variables.role.startsWith('/') ? variables.role.substring(1) : variables.role)`,
  permitted: `object.kind == 'Namespace' ? ${valueOf('variables.annotations', PERMITTED_ANNOTATION)}
  : has(namespaceObject.metadata.annotations) ? ${valueOf('namespaceObject.metadata.annotations', PERMITTED_ANNOTATION)} : ''`,
  externalId: valueOf('variables.annotations', EXTERNAL_ID_ANNOTATION),
  sessionTags: `object.kind == 'Namespace' || !variables.counts ? [] : variables.annotations.map(name, name.startsWith('${SESSION_TAG_PREFIX}'), name)`,
  allowedTags: `params.data[?'allowedSessionTags'].orValue('').split(',').map(key, '${SESSION_TAG_PREFIX}' + key)`,
  sessionName: valueOf('variables.annotations', SESSION_NAME_ANNOTATION),
  ...JUDGEMENTS,
};
