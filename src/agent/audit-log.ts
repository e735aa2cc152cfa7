import { LRUCache } from 'lru-cache';

import { formatAuditLine } from '#domain/audit-line.ts';
import { awsTimestamp, type MetadataCredentials } from '#domain/credentials.ts';
import type { Clock } from '#runtime/clock.ts';

/** The pod that is served, as far as it is known; `''` for what is not. */
export interface Served {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly nodeName: string;
  readonly roleArn: string;
  /** As STS has it. */
  readonly sessionName: string;
}

/** Told of each serving; writes of each pod and access key once. Never blocks and never throws. */
export type AuditLog = (served: Served, credentials: MetadataCredentials) => void;

/** More than the largest node has pods, with some that are gone. Those that are forgotten are written again. */
const MOST_PODS = 4096;

/** Sets of one pod: it has one at a time, and others from replicas that it asks. */
const MOST_SETS = 16;

/** Writes one line per pod (by its UID) and access key id, at the first serving. */
export function createAuditLog({
  clock,
  write,
}: {
  readonly clock: Pick<Clock, 'now'>;
  readonly write: (line: string) => void;
}): AuditLog {
  const written = new LRUCache<string, Set<string>>({ max: MOST_PODS });
  return (served, { accessKeyId, expiration }) => {
    const known = written.get(served.uid);
    if (known?.has(accessKeyId) === true) return;
    const keys = known ?? new Set();
    if (keys.size >= MOST_SETS) keys.delete(keys.values().next().value ?? '');
    written.set(served.uid, keys.add(accessKeyId));
    const { nodeName: node, namespace, name: pod, serviceAccount, uid, roleArn, sessionName } = served;
    const time = awsTimestamp(clock.now());
    write(
      formatAuditLine({
        time,
        node,
        namespace,
        pod,
        serviceAccount,
        uid,
        roleArn,
        sessionName,
        accessKeyId,
        expiration,
      }),
    );
  };
}
