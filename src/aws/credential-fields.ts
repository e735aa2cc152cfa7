import type { Identity } from '#domain/identity.ts';
import type { Fields } from '#telemetry/logger.ts';

/** Kiam's log fields of an identity (`pkg/aws/sts/log.go`): the role's name, and the annotations where a pod has them. */
export function identityFields(identity: Identity, defaultSessionName: string): Fields {
  return {
    'credentials.role': roleName(identity.roleArn),
    'credentials.session-name': identity.sessionName === defaultSessionName ? undefined : identity.sessionName,
    'credentials.external-id': identity.externalId === '' ? undefined : '******',
  };
}

function roleName(roleArn: string): string {
  const marker = ':role/';
  const index = roleArn.indexOf(marker);
  return index < 0 ? roleArn : roleArn.slice(index + marker.length);
}
