import type { Identity } from '#domain/identity.ts';
import type { RequestedIdentity } from '#telemetry/fields.ts';

/**
 * An identity as Kiam's log shows it: the role's name, and the session name only where a pod annotates one or a template makes
 * it. `defaultSessionName` is the name of all other sessions.
 */
export function visibleIdentity(identity: Identity, defaultSessionName: string): RequestedIdentity {
  const marker = ':role/';
  const { attribution, sessionName } = identity;
  const annotated = sessionName === defaultSessionName ? '' : sessionName;
  const index = identity.roleArn.indexOf(marker);
  return {
    role: index < 0 ? identity.roleArn : identity.roleArn.slice(index + marker.length),
    sessionName: attribution.sessionName === '' ? annotated : attribution.sessionName,
    externalId: identity.externalId,
  };
}
