import type { PodRecord } from './pod.ts';

/** Everything about a pod that is sent to STS. Two pods share credentials only when their identities are equal. */
export interface Identity {
  readonly roleArn: string;
  /** As annotated, or the server's `--session`: see {@link import('./session-name.ts').stsSessionName} for the wire form. */
  readonly sessionName: string;
  /** `''` when there is none. */
  readonly externalId: string;
}

/** The identity that a pod asks for with a role, given the session name of pods that annotate none. */
export function identityOf(pod: PodRecord, roleArn: string, defaultSessionName: string): Identity {
  return {
    roleArn,
    sessionName: pod.sessionName === '' ? defaultSessionName : pod.sessionName,
    externalId: pod.externalId,
  };
}

/** An unambiguous text for an identity: no annotation, whatever it holds, can make two identities look alike. */
export function identityKey(identity: Identity): string {
  return JSON.stringify([identity.roleArn, identity.sessionName, identity.externalId]);
}
