import { expandName, type NameTemplate } from './name-template.ts';
import type { PodRecord } from './pod.ts';

export type SessionTag = readonly [key: string, value: string];

/** What a session at STS says of whose it is, in addition to Kiam's session name. */
export interface Attribution {
  /** In place of Kiam's session name; `''` for that one. */
  readonly sessionName: string;
  /** `''` for none. */
  readonly sourceIdentity: string;
  readonly tags: readonly SessionTag[];
  /** Whether sessions that the pod makes with its own have the tags as well. */
  readonly areTagsTransitive: boolean;
}

/** Nothing more than Kiam says. */
export const NO_ATTRIBUTION: Attribution = {
  sessionName: '',
  sourceIdentity: '',
  tags: [],
  areTagsTransitive: false,
};

/**
 * Which tags a session has: none; those of its workload, which its pods share; or its pod's as well, so that each pod has its
 * own.
 */
export type TagMode = 'off' | 'workload' | 'pod';

/** How sessions are named and tagged: the same for all pods. */
export interface SessionRules {
  /** `--session`: the session name of pods that annotate none. */
  readonly defaultName: string;
  /** `--session-name`, `--source-identity`; undefined without them. */
  readonly nameTemplate: NameTemplate | undefined;
  readonly sourceIdentity: NameTemplate | undefined;
  readonly tags: TagMode;
  /** `''` where it is not given. */
  readonly clusterName: string;
  readonly clusterArn: string;
  readonly areTagsTransitive: boolean;
}

/** Sessions as Kiam makes them. */
export function plainSessions(defaultName: string): SessionRules {
  return {
    defaultName,
    nameTemplate: undefined,
    sourceIdentity: undefined,
    tags: 'off',
    clusterName: '',
    clusterArn: '',
    areTagsTransitive: false,
  };
}

const POD_UID_KEY = 'kubernetes-pod-uid';

/** The keys of EKS Pod Identity, so that its policies work: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html */
const OWN_KEYS = [
  'eks-cluster-arn',
  'eks-cluster-name',
  'kubernetes-namespace',
  'kubernetes-service-account',
  'kubernetes-pod-name',
  POD_UID_KEY,
] as const;

/** Whether a key is one of those that say whose the session is. AWS takes keys that differ in case alone for one. */
export function isReservedKey(key: string): boolean {
  return OWN_KEYS.some((own) => own === key.toLowerCase());
}

/** What the pod's session says. What the pod and its ServiceAccount annotate never takes the place of who they are. */
export function attributionOf(pod: PodRecord, rules: SessionRules): Attribution {
  const { nameTemplate, sourceIdentity, tags } = rules;
  if (nameTemplate === undefined && sourceIdentity === undefined && tags === 'off') return NO_ATTRIBUTION;
  const values = {
    cluster: rules.clusterName,
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    pod: pod.name,
    uid: pod.uid,
    sessionName: pod.sessionName === '' ? rules.defaultName : pod.sessionName,
  };
  return {
    sessionName: nameTemplate === undefined ? '' : expandName(nameTemplate, values),
    sourceIdentity: sourceIdentity === undefined ? '' : expandName(sourceIdentity, values),
    tags: tags === 'off' ? [] : tagsOf(pod, rules),
    areTagsTransitive: tags !== 'off' && rules.areTagsTransitive,
  };
}

function tagsOf(pod: PodRecord, { tags, clusterArn, clusterName }: SessionRules): readonly SessionTag[] {
  const values: Readonly<Record<(typeof OWN_KEYS)[number], string>> = {
    'eks-cluster-arn': clusterArn,
    'eks-cluster-name': clusterName,
    'kubernetes-namespace': pod.namespace,
    'kubernetes-service-account': pod.serviceAccount,
    'kubernetes-pod-name': tags === 'pod' ? pod.name : '',
    [POD_UID_KEY]: tags === 'pod' ? pod.uid : '',
  };
  const own = OWN_KEYS.map((key): SessionTag => [key, values[key]]).filter(([, value]) => value !== '');
  return [...own, ...(pod.sessionTags ?? []).filter(([key]) => !isReservedKey(key))];
}

/** Whether no other pod can ever have the session: its name comes again, its UID does not. */
export function isOfOnePod({ tags }: Attribution): boolean {
  return tags.some(([key]) => key === POD_UID_KEY);
}
