import type { WorkloadPod } from '#domain/workload.ts';

/** The two ways of EKS by which a ServiceAccount's pods get a role. */
export type NewWay = 'pod-identity' | 'irsa';

/** Where the pods are to get their credentials from. */
export interface Destination {
  readonly to: NewWay;
  readonly clusterName: string;
  readonly region: string;
  /** The account of the cluster, 12 digits. */
  readonly account: string;
  /** `aws`, `aws-cn`, … */
  readonly partition: string;
  /** URL of the cluster's OIDC issuer; `''` with Pod Identity. */
  readonly oidcIssuer: string;
  /** ARN of the role of the cluster's account that assumes roles of other accounts, with Pod Identity; `''` for none. */
  readonly intermediateRole: string;
}

export type ReasonKind =
  | 'refused'
  | 'static-pod'
  | 'external-id'
  | 'session-name'
  | 'session-tags'
  | 'web-identity'
  | 'fargate'
  | 'windows'
  | 'other-account'
  | 'two-roles'
  | 'shared-service-account';

/** Why a pod does not move by a restart alone, and what to do about it. */
export interface Reason {
  readonly kind: ReasonKind;
  readonly says: string;
  readonly fix: string;
}

/** What happens to one pod that has a role. */
export interface PodPlan {
  readonly pod: WorkloadPod;
  /** `''` where it can be no ARN. */
  readonly roleArn: string;
  /** `by-hand`: it moves once its workload names another ServiceAccount. */
  readonly outcome: 'moves' | 'by-hand' | 'cannot';
  /** The ServiceAccount that it has then; `''` where it cannot move. */
  readonly serviceAccount: string;
  readonly reasons: readonly Reason[];
  /** What changes for it when it moves. */
  readonly notes: readonly string[];
}

/** A ServiceAccount that gets a role. */
export interface AccountPlan {
  readonly namespace: string;
  readonly name: string;
  readonly roleArn: string;
  /** It is to be made, because other pods have the present one. */
  readonly isNew: boolean;
  /** What is restarted so that its pods are made again, each as kubectl names it. */
  readonly owners: readonly string[];
}

export interface Classification {
  readonly pods: readonly PodPlan[];
  readonly accounts: readonly AccountPlan[];
}
