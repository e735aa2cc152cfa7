import { readFileSync } from 'node:fs';

import type { OwnCredentialsOptions } from '#aws/own-credentials.ts';
import { resolveRole } from '#domain/role.ts';

import { describeError } from '#runtime/errors.ts';

import type { ServerFlags } from './flags/server.ts';
import { stsRegion } from './sts-region.ts';

/** The server's own credentials at AWS, from flags and environment. Throws an Error that says which of them is wrong. */
export function ownCredentialsOptions(
  flags: Pick<ServerFlags, 'region' | 'sessionDurationMs' | 'assumeRoleArn'>,
  baseArn: string,
): Omit<OwnCredentialsOptions, 'clock' | 'logger' | 'remaining'> {
  const at = stsRegion(flags.region, process.env);
  if (!at.ok) throw new Error(at.reason);
  return {
    region: at.value.region,
    environmentRegion: process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION'] ?? '',
    sessionDurationSeconds: flags.sessionDurationMs / 1000,
    assumeRoleArn: assumedRoleArn(flags.assumeRoleArn, baseArn),
    caBundle: caBundle(),
    environment: process.env,
  };
}

function assumedRoleArn(assumeRole: string, baseArn: string): string {
  if (assumeRole === '') return '';
  const resolution = resolveRole(assumeRole, baseArn);
  if (!resolution.ok) throw new Error(`--assume-role-arn: ${resolution.reason}`);
  return resolution.role.arn;
}

/** The AWS SDK for JavaScript does not read `AWS_CA_BUNDLE`, which the other SDKs do. */
function caBundle(): string | undefined {
  const path = process.env['AWS_CA_BUNDLE'];
  if (path === undefined || path === '') return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`AWS_CA_BUNDLE: ${describeError(error)}`, {
      cause: error,
    });
  }
}
