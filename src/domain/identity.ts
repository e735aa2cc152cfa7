import { type Attribution, attributionOf, NO_ATTRIBUTION, type SessionRules } from './attribution.ts';
import type { PodRecord } from './pod.ts';
import { stsSessionName } from './session-name.ts';

/** Everything about a pod that is sent to STS. Two pods share credentials only when their identities are equal. */
export interface Identity {
  readonly roleArn: string;
  /** As annotated, or the server's `--session`; `''` where a template names sessions. See {@link sessionNameOf}. */
  readonly sessionName: string;
  /** `''` when there is none. */
  readonly externalId: string;
  readonly attribution: Attribution;
}

/** The identity that a pod asks for with a role. */
export function identityOf(pod: PodRecord, roleArn: string, rules: SessionRules): Identity {
  const attribution = attributionOf(pod, rules);
  const annotated = pod.sessionName === '' ? rules.defaultName : pod.sessionName;
  return {
    roleArn,
    sessionName: attribution.sessionName === '' ? annotated : '',
    externalId: pod.externalId,
    attribution,
  };
}

/** The session name that STS is given. */
export function sessionNameOf({ sessionName, attribution }: Identity): string {
  return attribution.sessionName === '' ? stsSessionName(sessionName) : attribution.sessionName;
}

/** An unambiguous text for an identity: no annotation, whatever it holds, can make two identities look alike. */
export function identityKey({ roleArn, sessionName, externalId, attribution }: Identity): string {
  const plain = [roleArn, sessionName, externalId];
  // Agents keep what they hold by a hash of this text: without attribution it is that of every version.
  return JSON.stringify(attribution === NO_ATTRIBUTION ? plain : [...plain, attribution]);
}
