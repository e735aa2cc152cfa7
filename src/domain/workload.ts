import type { PodRecord } from './pod.ts';

/** A pod with what matters when it is to get its credentials in another way than from Kiam. */
export interface WorkloadPod extends PodRecord {
  /** What can be restarted to make the pod again, as kubectl names it (`deployment/web`); `''` where nothing can. */
  readonly owner: string;
  readonly fargate: boolean;
  readonly windows: boolean;
}
