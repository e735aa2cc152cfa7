import { baseArnOfInstanceProfile } from '#domain/role.ts';
import { createMetadataClient, type MetadataClient } from '#metadata/client.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { sleep } from '#runtime/clock.ts';
import { oncePerChange } from '#telemetry/once.ts';

import type { Daemon } from './daemon.ts';
import type { ServerFlags } from './flags/server.ts';

const IAM_INFO = '/latest/meta-data/iam/info';

/**
 * The prefix of short role names: as given, or out of the instance profile of the node. A metadata service that is away is
 * asked until it answers. Undefined when the daemon is stopped before.
 */
export async function resolveBaseArn(
  flags: Pick<ServerFlags, 'roleBaseArn' | 'roleBaseArnAutodetect' | 'metadataEndpoint'>,
  { clock, logger, shutdown }: Daemon,
): Promise<string | undefined> {
  if (!flags.roleBaseArnAutodetect) return flags.roleBaseArn ?? '';
  const metadata = createMetadataClient({ endpoint: flags.metadataEndpoint, clock });
  const backoff = createBackoff({ firstMs: 250, capMs: 5000 });
  const isNews = oncePerChange();
  try {
    while (!shutdown.signal.aborted) {
      const detected = await detectBaseArn(metadata, shutdown.signal);
      if (detected.ok) {
        logger.info('using the base ARN of the instance profile', { 'role.base-arn': detected.baseArn });
        return detected.baseArn;
      }
      if (isNews(detected.reason)) logger.error('cannot detect the base ARN; retrying', { error: detected.reason });
      await sleep(clock, backoff.nextMs(), shutdown.signal);
    }
    return undefined;
  } finally {
    metadata.close();
  }
}

export type Detection =
  | { readonly ok: true; readonly baseArn: string }
  | { readonly ok: false; readonly reason: string };

/** Asks the metadata service once. Never rejects. */
export async function detectBaseArn(metadata: MetadataClient, signal: AbortSignal): Promise<Detection> {
  const outcome = await metadata.get(IAM_INFO, { signal });
  if (!outcome.ok) return { ok: false, reason: outcome.message };
  const { status, body } = outcome.answer;
  if (status !== 200) return { ok: false, reason: `${IAM_INFO} answers ${status}: has the node an instance profile?` };
  const profile = instanceProfileArn(body.toString('utf8'));
  const baseArn = profile === undefined ? undefined : baseArnOfInstanceProfile(profile);
  if (baseArn === undefined) return { ok: false, reason: `${IAM_INFO} names no instance profile` };
  return { ok: true, baseArn };
}

function instanceProfileArn(text: string): string | undefined {
  try {
    const info: unknown = JSON.parse(text);
    if (typeof info !== 'object' || info === null || !('InstanceProfileArn' in info)) return undefined;
    return typeof info.InstanceProfileArn === 'string' ? info.InstanceProfileArn : undefined;
  } catch {
    return undefined;
  }
}
