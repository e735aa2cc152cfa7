/** What the metadata service said. Any status is an answer; redirects are not followed. */
export interface MetadataAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface MetadataFailure {
  readonly ok: false;
  /** `no token`: it takes requests with a token alone, and does not answer requests for one. */
  readonly reason: 'timed out' | 'unreachable' | 'too large' | 'busy' | 'cancelled' | 'token refused' | 'no token';
  /** For people: one line. */
  readonly message: string;
}

export type MetadataOutcome = { readonly ok: true; readonly answer: MetadataAnswer } | MetadataFailure;

export function metadataFailure(reason: MetadataFailure['reason'], message: string): MetadataFailure {
  return { ok: false, reason, message };
}
