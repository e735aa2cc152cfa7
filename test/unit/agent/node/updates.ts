import type { PodClaims } from '#agent/container/token-verifier.ts';
import type { NodeUpdate, PodBinding } from '#rpc/contract.ts';

/** A pod as the server tells of it, but for what a test says about it. */
export function podUpdate(fields: Partial<PodBinding> = {}): NodeUpdate {
  return {
    pod: {
      uid: 'uid-1',
      addresses: ['192.0.2.1'],
      role: 'reader',
      role_arn: 'arn:aws:iam::1:role/reader',
      identity: 'identity-1',
      namespace: 'team',
      name: 'app',
      service_account: 'default',
      node_name: 'node-1',
      session_name: 'kiam-kiam',
      service_account_uid: 'uid-of-account',
      ...fields,
    },
  };
}

/** What a token says that was made for the pod of {@link podUpdate}, but for what a test says about it. */
export function podClaims(fields: Partial<PodClaims> = {}): PodClaims {
  return {
    uid: 'uid-1',
    namespace: 'team',
    name: 'app',
    serviceAccount: 'default',
    serviceAccountUid: 'uid-of-account',
    nodeName: 'node-1',
    notBefore: 0,
    expires: Number.MAX_SAFE_INTEGER,
    ...fields,
  };
}

/** Credentials whose access key says whose they are. */
export function credentialsUpdate(identity: string, expiresAtMs: number, accessKeyId = `ASIA-${identity}`): NodeUpdate {
  return {
    credentials: {
      identity,
      expires_at_ms: expiresAtMs,
      credentials: {
        code: 'Success',
        type: 'AWS-HMAC',
        access_key_id: accessKeyId,
        secret_access_key: 'SECRET',
        token: 'TOKEN',
        expiration: '2026-01-01T01:00:00Z',
        last_updated: '2026-01-01T00:00:00Z',
        uid: '',
        role_arn: '',
        view_age_ms: 0,
      },
    },
  };
}

export const SYNCED: NodeUpdate = { synced: { max_view_age_ms: 30_000 } };
export const MOVED: NodeUpdate = { moved: {} };
export const HEARTBEAT: NodeUpdate = { heartbeat: { silence_ms: 0, view_age_ms: 0 } };
