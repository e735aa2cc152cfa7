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
  /** Keys and values of the annotations that begin with {@link SESSION_TAG_PREFIX}, in the order of the keys. */
  readonly sessionTags: readonly (readonly [key: string, value: string])[];
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

/** The pod with the role and the rest of what it may ask for, given its ServiceAccount; the same record where nothing changes. */
export function bindPod<Pod extends PodRecord>(
  pod: Pod,
  account: ServiceAccountRecord | undefined,
  binding: Binding,
): Pod {
  const { annotated } = pod;
  const ofAccount = binding === 'pod' || account === undefined ? '' : roleOfAccount(account);
  const isOwn = binding === 'pod' || (binding === 'both' && annotated.role !== '');
  const { sessionName, externalId } = binding === 'serviceaccount' ? NOTHING : annotated;
  const bound = {
    role: isOwn ? annotated.role : ofAccount,
    roleSource: isOwn ? ('pod' as const) : ('service-account' as const),
    sessionName,
    externalId,
    serviceAccountUid: account?.uid ?? '',
  };
  const isSame =
    pod.serviceAccountUid === bound.serviceAccountUid &&
    pod.role === bound.role &&
    (pod.roleSource === bound.roleSource || bound.role === '') &&
    pod.sessionName === sessionName &&
    pod.externalId === externalId;
  return isSame ? pod : { ...pod, ...bound };
}

const NOTHING = { sessionName: '', externalId: '' };
