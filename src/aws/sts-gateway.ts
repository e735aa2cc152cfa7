import { stsSessionName } from '#domain/session-name.ts';

import { assumeRole } from './assume-role.ts';
import { createOwnCredentials, type OwnCredentialsOptions } from './own-credentials.ts';
import { createSessionDurations } from './session-durations.ts';
import type { Sts } from './sts.ts';

export interface StsGateway extends Sts {
  /** Ends the background work and closes the connections. */
  close(): void;
}

/**
 * Assumes roles at STS for pods, with the credentials of the SDK's default chain, or with a session of the server's own role
 * where there is one. Both are kept fresh in the background from the moment that the gateway is made.
 */
export function createStsGateway(options: OwnCredentialsOptions): StsGateway {
  const { clock, logger } = options;
  const own = createOwnCredentials(options);
  const durations = createSessionDurations(Math.floor(options.sessionDurationSeconds));
  return {
    assumeRole: async ({ roleArn, sessionName, externalId }, signal) => {
      const missing = await own.ready(signal);
      if (missing !== undefined) return missing;
      const outcome = await assumeRole(
        { client: own.client, durations, clock, logger },
        { roleArn, sessionName: stsSessionName(sessionName), externalId },
        signal,
      );
      if (!outcome.ok && outcome.category === 'own-credentials') own.renew();
      return outcome;
    },
    close: () => own.close(),
  };
}
