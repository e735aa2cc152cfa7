import type { MetadataCredentials } from '#domain/credentials.ts';
import type { WireCredentials } from '#rpc/contract.ts';

/** Credentials as the contract spells them; for whom they are is said where it is known. */
export function wireCredentials(
  credentials: MetadataCredentials,
  { uid, roleArn }: { readonly uid: string; readonly roleArn: string } = { uid: '', roleArn: '' },
): WireCredentials {
  return {
    code: credentials.code,
    type: credentials.type,
    access_key_id: credentials.accessKeyId,
    secret_access_key: credentials.secretAccessKey,
    token: credentials.token,
    expiration: credentials.expiration,
    last_updated: credentials.lastUpdated,
    uid,
    role_arn: roleArn,
  };
}
