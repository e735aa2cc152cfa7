import type { SessionTag } from './attribution.ts';
import type { PodRecord } from './pod.ts';

/** What a ServiceAccount gives its pods: the annotation of EKS's IAM roles for service accounts, an ARN. */
export const EKS_ROLE_ANNOTATION = 'eks.amazonaws.com/role-arn';

/** What follows is the key of a session tag. */
export const SESSION_TAG_PREFIX = 'iam.amazonaws.com/session-tag.';

/** What is kept of a ServiceAccount. Annotations as they stand there; `''` where there is none. */
export interface ServiceAccountRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  /** `iam.amazonaws.com/role`: a name, a path and a name, or an ARN. */
  readonly role: string;
  /** {@link EKS_ROLE_ANNOTATION} */
  readonly eksRole: string;
  /** Those of its annotations that begin with {@link SESSION_TAG_PREFIX} and count, in the order of the keys. */
  readonly sessionTags: readonly SessionTag[];
  /** The key of one that does not count; `''` when there is none. */
  readonly ignoredTag: string;
}

/**
 * Where a pod's role comes from: from its own annotations, from its ServiceAccount alone, or from both, of which its own go first
 * (`--binding`). A kubelet may change the annotations of its node's pods, through `pods/status`, but neither a pod's
 * `spec.serviceAccountName` nor a ServiceAccount.
 */
export type Binding = 'pod' | 'serviceaccount' | 'both';

/**
 * The role that a ServiceAccount gives its pods; `''` for none. `iam.amazonaws.com/role` goes first, because nobody but us reads
 * it. The annotation of EKS counts for an ARN only, as it does there.
 */
export function roleOfAccount({ role, eksRole }: Pick<ServiceAccountRecord, 'role' | 'eksRole'>): string {
  if (role !== '') return role;
  return eksRole.startsWith('arn:') ? eksRole : '';
}

/** What decides about what a pod gets from its ServiceAccount. */
export interface BindingRules {
  readonly binding: Binding;
  /** The keys of session tags that pods and ServiceAccounts may set. */
  readonly allowedTags: readonly string[];
}

/** The pod with the role and the rest of what it may ask for, given its ServiceAccount; the same record where nothing changes. */
export function bindPod<Pod extends PodRecord>(
  pod: Pod,
  account: ServiceAccountRecord | undefined,
  rules: BindingRules,
): Pod {
  const { annotated } = pod;
  const { binding } = rules;
  const ofAccount = binding === 'pod' || account === undefined ? '' : roleOfAccount(account);
  const isOwn = binding === 'pod' || (binding === 'both' && annotated.role !== '');
  const { sessionName, externalId } = binding === 'serviceaccount' ? NOTHING : annotated;
  const bound = {
    role: isOwn ? annotated.role : ofAccount,
    roleSource: isOwn ? ('pod' as const) : ('service-account' as const),
    sessionName,
    externalId,
    serviceAccountUid: account?.uid ?? '',
    sessionTags: tagsOf(annotated.sessionTags, account, rules),
  };
  const isSame =
    pod.serviceAccountUid === bound.serviceAccountUid &&
    pod.role === bound.role &&
    (pod.roleSource === bound.roleSource || bound.role === '') &&
    pod.sessionName === sessionName &&
    pod.externalId === externalId &&
    !tagsDiffer(pod.sessionTags, bound.sessionTags);
  return isSame ? pod : { ...pod, ...bound };
}

const NOTHING = { sessionName: '', externalId: '' };

/**
 * A tag of the ServiceAccount goes before the pod's own of that key: a kubelet may change what pods are annotated with. Until the
 * ServiceAccount is known, it is not known which tags it sets.
 */
function tagsOf(
  own: readonly SessionTag[],
  account: ServiceAccountRecord | undefined,
  { binding, allowedTags }: BindingRules,
): readonly SessionTag[] | undefined {
  if (allowedTags.length === 0 || binding === 'pod') return own;
  if (account === undefined) return undefined;
  const { sessionTags } = account;
  if (binding === 'serviceaccount' || own.length === 0) return sessionTags;
  const left = own.filter(([key]) => !sessionTags.some(([other]) => other === key));
  return [...sessionTags, ...left].toSorted(([one], [other]) => (one < other ? -1 : 1));
}

export function tagsDiffer(left: readonly SessionTag[] | undefined, right: readonly SessionTag[] | undefined): boolean {
  return left !== right && JSON.stringify(left) !== JSON.stringify(right);
}
