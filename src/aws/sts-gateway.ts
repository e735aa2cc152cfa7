import type { Clock } from '#runtime/clock.ts';
import { stsSessionName } from '#domain/session-name.ts';
import type { Logger } from '#telemetry/logger.ts';
import { assumeRole } from './assume-role.ts';
import { createChainCredentials, createRoleCredentials } from './server-credentials.ts';
import { createSessionDurations } from './session-durations.ts';
import type { Sts } from './sts.ts';

export interface StsGatewayOptions {
  /** `--region`: `''` is the global endpoint `https://sts.amazonaws.com`. */
  readonly region: string;
  /** `AWS_REGION` or `AWS_DEFAULT_REGION`, where the SDK's chain calls AWS itself (web identity) when `region` is `''`. */
  readonly environmentRegion?: string | undefined;
  /** `--session-duration` in seconds, 900 to 43200; with `assumeRoleArn` an hour is the most. */
  readonly sessionDurationSeconds: number;
  /** `--assume-role-arn`, resolved: the role that the server assumes first; `''` for none. */
  readonly assumeRoleArn: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** See `createServerCredentialsMetric`. */
  readonly remaining?: { set(seconds: number): void };
  /** A URL in place of AWS's own; without it the SDK reads `AWS_ENDPOINT_URL_STS` itself. */
  readonly endpoint?: string | undefined;
  /** The PEM text of the file that `AWS_CA_BUNDLE` names. */
  readonly caBundle?: string | undefined;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

export interface StsGateway extends Sts {
  /** Ends the background work and closes the connections. */
  close(): void;
}

/**
 * Assumes roles at STS for pods, with the credentials of the SDK's default chain, or with a session of the server's own role
 * where there is one. Both are kept fresh in the background from the moment that the gateway is made.
 */
export function createStsGateway(options: StsGatewayOptions): StsGateway {
  const { region, endpoint, caBundle, clock, logger, assumeRoleArn, random } = options;
  // STS takes whole seconds; a flag may say 900.5 of them.
  const sessionDurationSeconds = Math.floor(options.sessionDurationSeconds);
  const remaining = options.remaining ?? { set: () => {} };
  const shared = { client: { region, endpoint, caBundle }, clock, logger };
  const isChained = assumeRoleArn !== '';
  const chainRegion = region === '' ? (options.environmentRegion ?? '') : region;
  const base = createChainCredentials({ ...shared, chainRegion, remaining: isChained ? { set: () => {} } : remaining });
  const own = isChained
    ? createRoleCredentials({
        ...shared,
        base,
        remaining,
        roleArn: assumeRoleArn,
        sessionDurationSeconds,
        ...(random === undefined ? {} : { random }),
      })
    : base;
  const durations = createSessionDurations(sessionDurationSeconds);
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
