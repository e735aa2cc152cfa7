/** The audience of agents' tokens: `audience` of the projected token in the agent's manifest. */
export const AGENT_TOKEN_AUDIENCE = 'kiam-server';

/** Where a token comes from; the number of invalid tokens that are reviewed is limited for each source. */
export interface ReviewSource {
  /** In canonical form; `''` when it is not known. */
  readonly address: string;
  /** Whether pods say that a node has the address. */
  readonly isNode: boolean;
  /** The fingerprint of the certificate that the connection was opened with. */
  readonly certificate: () => string;
}

/** What is known of a service account token. */
export type TokenReview =
  /**
   * It was made for the pod with this UID, which has the account `user`; `nodeName` is `''` where the API server does not name
   * the pod's node.
   */
  | { readonly kind: 'pod'; readonly uid: string; readonly user: string; readonly nodeName: string }
  | { readonly kind: 'refused' }
  /** The API server cannot be asked, or not for this caller now. */
  | { readonly kind: 'unavailable' };
