import type { AuditLine } from '#domain/audit-line.ts';
import { awsTimestamp, type IssuedSet } from '#domain/credentials.ts';
import { type Identity, identityKey, sessionNameOf } from '#domain/identity.ts';
import type { PodRecord } from '#domain/pod.ts';
import type { AwaitTurn } from '#runtime/turn-budget.ts';

import type { PodView } from '../ports.ts';

export interface WhoisOptions {
  /** Who says so, for people. */
  readonly server: string;
  readonly pods: Pick<PodView, 'pods'>;
  /** What the pod is to STS; undefined where policy refuses it. */
  readonly identify: (pod: PodRecord) => Identity | undefined;
  readonly credentials: {
    /** Whose set has this access key id, of those that have not ended. */
    issuedTo(accessKeyId: string): { readonly identity: Identity; readonly set: IssuedSet } | undefined;
  };
  /** `--container-credentials`: pods with the host's network may have been served as well. */
  readonly servesTokens: boolean;
  /** Called before each pod: other work goes on in between. */
  readonly awaitTurn: AwaitTurn;
}

/** What one server knows of an access key. Nothing in it is secret. */
export interface WhoisAnswer {
  readonly server: string;
  /** Whether this server had the set from STS, and has not forgotten it. */
  readonly isKnown: boolean;
  readonly roleArn: string;
  readonly sessionName: string;
  /** The pods that have this session now, as an agent would have written of each; `time` is when the set was issued. */
  readonly pods: readonly AuditLine[];
}

/** Looks for the set in memory. Asks nobody and changes nothing. */
export async function collectWhois(options: WhoisOptions, accessKeyId: string): Promise<WhoisAnswer> {
  const { server, pods, identify, credentials, servesTokens, awaitTurn } = options;
  const found = credentials.issuedTo(accessKeyId);
  if (found === undefined) return { server, isKnown: false, roleArn: '', sessionName: '', pods: [] };
  const { identity, set } = found;
  const key = identityKey(identity);
  const { roleArn } = identity;
  const sessionName = sessionNameOf(identity);
  const lines: AuditLine[] = [];
  for (const pod of Array.from(pods.pods())) {
    await awaitTurn();
    const mayAsk = !pod.mirror && (!pod.hostNetwork || servesTokens);
    const own = mayAsk && pod.role !== '' ? identify(pod) : undefined;
    if (own === undefined || identityKey(own) !== key) continue;
    lines.push({
      time: awsTimestamp(set.issuedAtMs),
      node: pod.nodeName,
      namespace: pod.namespace,
      pod: pod.name,
      serviceAccount: pod.serviceAccount,
      uid: pod.uid,
      roleArn,
      sessionName,
      accessKeyId,
      expiration: awsTimestamp(set.expiresAtMs),
    });
  }
  return { server, isKnown: true, roleArn, sessionName, pods: lines };
}
