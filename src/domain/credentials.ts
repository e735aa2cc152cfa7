import type { Failure } from './failure.ts';

/** One set of temporary credentials, as STS gave it. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  /** When STS refuses them, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** When they were issued, in milliseconds since the epoch. */
  readonly issuedAtMs: number;
}

/** A set that was issued, without its secrets. */
export type IssuedSet = Pick<Credentials, 'accessKeyId' | 'issuedAtMs' | 'expiresAtMs'>;

/** Nothing with less life than this is served: an SDK would find it expired before it is used (docs/specification.md, 8.6). */
export const SHORTEST_SERVED_LIFE_MS = 60_000;

/** `YYYY-MM-DDTHH:MM:SSZ` in UTC, the only form that botocore parses; fractions are cut off. */
export function awsTimestamp(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
}

/** Credentials in the form of the metadata API and of the gRPC contract: every value is text. */
export interface MetadataCredentials {
  readonly code: string;
  readonly type: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly token: string;
  /** See {@link awsTimestamp}. */
  readonly expiration: string;
  /** See {@link awsTimestamp}. */
  readonly lastUpdated: string;
}

/**
 * Credentials as EC2 serves them:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
 */
export function metadataCredentials(credentials: Credentials): MetadataCredentials {
  return {
    code: 'Success',
    type: 'AWS-HMAC',
    accessKeyId: credentials.accessKeyId,
    secretAccessKey: credentials.secretAccessKey,
    token: credentials.sessionToken,
    expiration: awsTimestamp(credentials.expiresAtMs),
    lastUpdated: awsTimestamp(credentials.issuedAtMs),
  };
}

/** What is known of an identity's credentials at a moment, for people: no key and no token. Times are in milliseconds. */
export interface CredentialInspection {
  /** The credentials that are served, or the last ones, which have expired. */
  readonly held: HeldInspection | undefined;
  /** The last answer of STS, where that was a failure. */
  readonly failure: FailureInspection | undefined;
  /** A call to STS is in progress, or waits for its turn. */
  readonly isCalling: boolean;
  /** When the next call is due; undefined while nobody has asked for anything. */
  readonly next: NextCall | undefined;
  /** STS is taken to be unavailable as a whole: only probes are sent. */
  readonly isPaused: boolean;
  /** How often STS was called for it by this server, since it holds something of it. */
  readonly calls: number;
}

/** How fast one server calls STS at a moment. */
export interface StsPace {
  /** The most calls in flight; it falls when STS throttles or fails. */
  readonly limit: number;
  readonly inFlight: number;
  /** Calls that wait for their turn. */
  readonly waiting: number;
  /** STS is taken to be unavailable: only probes are sent. */
  readonly paused: boolean;
  /** At most; null while nothing holds calls apart. */
  readonly callsPerSecond: number | null;
}

export interface HeldInspection {
  readonly isServed: boolean;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
  /** As counted from when it was issued; negative when it has ended. */
  readonly remainingMs: number;
}

export interface FailureInspection {
  /** What it means: `denied`, `throttled`, ... */
  readonly category: string;
  /** STS's code; `''` when the failure is not STS's own. */
  readonly code: string;
  /** What STS said, without an external id. */
  readonly detail: string;
  readonly agoMs: number;
  /** How many there were in a row. */
  readonly count: number;
}

export interface NextCall {
  /** At the earliest; 0 when it may be now. */
  readonly inMs: number;
  /** False when it is made only for a pod that asks. */
  readonly isAutomatic: boolean;
}

/** The result of fetching an identity's credentials. */
export type CredentialOutcome =
  | { readonly ok: true; readonly value: Credentials }
  | {
      readonly ok: false;
      readonly failure: Failure;
      /** What STS said, `<Code>: <message>`, for the Event on the pod. It may name the server's own role: never for the agent. */
      readonly detail: string;
    };
