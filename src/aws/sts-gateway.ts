import { assumeRole, requestOf } from './assume-role.ts';
import { callerIdentity } from './caller-identity.ts';
import { IdentityProof } from './identity-proof.ts';
import { createOwnCredentials, type OwnCredentialsOptions } from './own-credentials.ts';
import { createSessionDurations } from './session-durations.ts';
import type { Sts } from './sts.ts';

export interface StsGateway extends Sts {
  /** Whether AWS has accepted the server's own identity since the gateway was made. Roles that are assumed show it as well. */
  readonly proof: Pick<IdentityProof, 'problem' | 'run'>;
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
  const proof = new IdentityProof({
    clock,
    logger,
    ask: async (signal) => {
      const outcome = (await own.ready(signal)) ?? (await callerIdentity(own.client, signal));
      if (!outcome.ok && outcome.category === 'own-credentials') own.renew();
      return outcome;
    },
  });
  return {
    proof,
    assumeRole: async (identity, signal) => {
      const missing = await own.ready(signal);
      if (missing !== undefined) return missing;
      const outcome = await assumeRole({ client: own.client, durations, clock, logger }, requestOf(identity), signal);
      proof.observe(outcome);
      if (!outcome.ok && outcome.category === 'own-credentials') own.renew();
      return outcome;
    },
    close: () => own.close(),
  };
}
