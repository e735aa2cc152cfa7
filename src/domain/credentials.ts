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
