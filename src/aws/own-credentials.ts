import type { Environment } from '#runtime/environment.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import type { StsClientOptions } from './sts-client.ts';
import { createChainCredentials, createRoleCredentials, type ServerCredentials } from './server-credentials.ts';

export interface OwnCredentialsOptions {
  /** `--region`, or what the environment says without it: `''` is the global endpoint `https://sts.amazonaws.com`. */
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
  /** In place of connections to STS. */
  readonly requestHandler?: StsClientOptions['requestHandler'];
  /** The process's own, for its proxies. */
  readonly environment?: Environment | undefined;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/**
 * The credentials that the server signs with: those of the SDK's default chain, or a session of the server's own role where
 * there is one. Both are renewed in the background until they are closed.
 */
export function createOwnCredentials(options: OwnCredentialsOptions): ServerCredentials {
  const { region, endpoint, caBundle, environment, requestHandler, clock, logger, assumeRoleArn, random } = options;
  // STS takes whole seconds; a flag may say 900.5 of them.
  const sessionDurationSeconds = Math.floor(options.sessionDurationSeconds);
  const remaining = options.remaining ?? { set: () => {} };
  const shared = { client: { region, endpoint, caBundle, environment, requestHandler }, clock, logger };
  const isChained = assumeRoleArn !== '';
  const chainRegion = region === '' ? (options.environmentRegion ?? '') : region;
  const base = createChainCredentials({ ...shared, chainRegion, remaining: isChained ? { set: () => {} } : remaining });
  return isChained
    ? createRoleCredentials({
        ...shared,
        base,
        remaining,
        roleArn: assumeRoleArn,
        sessionDurationSeconds,
        ...(random === undefined ? {} : { random }),
      })
    : base;
}
