/** The annotation whose expression says which roles a namespace's pods may have (Kiam, `pkg/k8s/annotations.go`). */
export const PERMITTED_ANNOTATION = 'iam.amazonaws.com/permitted';

export interface NamespaceRecord {
  readonly name: string;
  /** The expression as annotated; `''` when there is none, which permits nothing. */
  readonly permitted: string;
  /** True where `permitted` holds kube2iam's list of roles in its place: see `domain/allowed-roles.ts`. */
  readonly isList?: boolean;
}
