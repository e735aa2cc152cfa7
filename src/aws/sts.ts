import type { Credentials } from '#domain/credentials.ts';
import type { Failure } from '#domain/failure.ts';
import type { Identity } from '#domain/identity.ts';

/** The kinds of failures of STS, as far as they decide when to retry. */
export type StsCategory =
  /** STS asks for fewer calls. It counts them per account, whatever the role. */
  | 'throttled'
  /** This role is refused: its trust policy, its permissions, its existence. */
  | 'denied'
  /** STS fails, cannot be reached or does not answer in time. */
  | 'unavailable'
  /** The server's own credentials are missing, expired or unknown to AWS: no role can be assumed. */
  | 'own-credentials'
  /** The request is malformed: an ARN, a session name or an external id that STS does not accept. */
  | 'bad-request'
  /** An exception on our own side, in the call for this identity: it says nothing about STS or other identities. */
  | 'defect'
  /** STS answered with the credentials of another role or session than was asked for; they are dropped. */
  | 'wrong-identity';

export interface StsFailure {
  readonly ok: false;
  /** For the pod: holds STS's code but not its text, which names the server's own role (docs/specification.md, 3). */
  readonly failure: Failure;
  /** For the log and the pod's Event: `<Code>: <message>`, or the message alone where there is no code, as Kiam shows it. */
  readonly detail: string;
  readonly category: StsCategory;
  /** STS's error code, `''` when the failure is not STS's own. */
  readonly code: string;
  /** STS answered with a failure of its own, or the connection broke: the same call may well succeed a moment later. */
  readonly isBrief: boolean;
}

export interface StsSuccess {
  readonly ok: true;
  readonly value: Credentials;
  /** The session's length that was asked for and granted, in milliseconds. */
  readonly grantedMs: number;
  /** How far STS's clock is ahead of ours in milliseconds, as far as its answers show; 0 when they agree. */
  readonly clockOffsetMs: number;
  /** How much of the space for session tags and policies the session takes, in percent; 0 where STS does not say. */
  readonly packedPolicyPercent: number;
}

export type StsOutcome = StsSuccess | StsFailure;

/** The one call that the credential cache makes. Never rejects; ends early when `signal` aborts. */
export interface Sts {
  assumeRole(identity: Identity, signal: AbortSignal): Promise<StsOutcome>;
}

/** Whether a retry may succeed without a change of configuration. */
export function isTransient(category: StsCategory): boolean {
  return category === 'throttled' || category === 'unavailable' || category === 'own-credentials';
}
