import { baseArnOfInstanceProfile } from '#domain/role.ts';
import type { MetadataFailure } from '#metadata/answer.ts';
import { createMetadataClient, type MetadataClient } from '#metadata/client.ts';
import { createBackoff } from '#runtime/backoff.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { oncePerChange } from '#telemetry/once.ts';

import type { Daemon } from './daemon.ts';
import type { ServerFlags } from './flags/server.ts';

const IAM_INFO = '/latest/meta-data/iam/info';

/**
 * The prefix of short role names: as given, or from the instance profile of the node. Asks a metadata service that does not
 * answer again until it does. Undefined if the daemon is stopped before that.
 */
export async function resolveBaseArn(
  flags: Pick<ServerFlags, 'roleBaseArn' | 'roleBaseArnAutodetect' | 'metadataEndpoint'>,
  daemon: Daemon,
): Promise<string | undefined> {
  if (!flags.roleBaseArnAutodetect) return flags.roleBaseArn ?? '';
  return untilDetected(flags.metadataEndpoint, daemon, BASE_ARN);
}

/** The name of the node's own role; as {@link resolveBaseArn}. */
export function resolveNodeRole(metadataEndpoint: string, daemon: Daemon): Promise<string | undefined> {
  return untilDetected(metadataEndpoint, daemon, NODE_ROLE);
}

/** A value that the metadata service tells, and how logs name it. */
interface Detectable {
  readonly detect: (metadata: MetadataClient, signal: AbortSignal) => Promise<Detection>;
  readonly message: string;
  readonly field: string;
  readonly failure: string;
}

async function untilDetected(
  endpoint: string,
  { clock, logger, shutdown }: Daemon,
  { detect, message, field, failure }: Detectable,
): Promise<string | undefined> {
  const metadata = createDetectionClient(endpoint, clock);
  const backoff = createBackoff({ firstMs: 250, capMs: 5000 });
  const isNews = oncePerChange();
  try {
    while (!shutdown.signal.aborted) {
      const detected = await detect(metadata, shutdown.signal);
      if (detected.ok) {
        logger.info(message, { [field]: detected.text });
        return detected.text;
      }
      if (isNews(detected.reason)) logger.error(failure, { error: detected.reason });
      await sleep(clock, backoff.nextMs(), shutdown.signal);
    }
    return undefined;
  } finally {
    metadata.close();
  }
}

/** A second for a token that may never arrive, and another for the read: nothing that is detected is a secret. */
const DETECTION_LIMIT_MS = 2000;

/** Reads without a token where the request for one is not answered: a container with a network of its own, and a hop limit of 1. */
export function createDetectionClient(endpoint: string, clock: Clock): MetadataClient {
  return createMetadataClient({ endpoint, clock, limitMs: DETECTION_LIMIT_MS, readsWithoutToken: true });
}

export type Detection = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reason: string };

/** Asks the metadata service once. Never rejects. */
export async function detectBaseArn(metadata: MetadataClient, signal: AbortSignal): Promise<Detection> {
  const outcome = await metadata.get(IAM_INFO, { signal });
  if (!outcome.ok) return notDetected(outcome);
  const { status, body } = outcome.answer;
  if (status !== 200) return { ok: false, reason: `${IAM_INFO} answers ${status}: has the node an instance profile?` };
  const profile = instanceProfileArn(body.toString('utf8'));
  const baseArn = profile === undefined ? undefined : baseArnOfInstanceProfile(profile);
  if (baseArn === undefined) return { ok: false, reason: `${IAM_INFO} names no instance profile` };
  return { ok: true, text: baseArn };
}

const ROLE_LIST = '/latest/meta-data/iam/security-credentials/';

async function detectNodeRole(metadata: MetadataClient, signal: AbortSignal): Promise<Detection> {
  const outcome = await metadata.get(ROLE_LIST, { signal });
  if (!outcome.ok) return notDetected(outcome);
  const { status, body } = outcome.answer;
  const text = body.toString('utf8').trim();
  return status === 200 && text !== ''
    ? { ok: true, text }
    : { ok: false, reason: `${ROLE_LIST} answers ${status}: has the node an instance profile?` };
}

function notDetected({ reason, message }: MetadataFailure): Detection {
  if (reason !== 'no token') return { ok: false, reason: message };
  const advice = 'give it the network of the host (hostNetwork: true), or give by a flag what is to be detected';
  return { ok: false, reason: `${message}; ${advice}` };
}

const BASE_ARN: Detectable = {
  detect: detectBaseArn,
  message: 'using the base ARN of the instance profile',
  field: 'role.base-arn',
  failure: 'cannot detect the base ARN; retrying',
};

const NODE_ROLE: Detectable = {
  detect: detectNodeRole,
  message: 'using the role of the instance as the default role',
  field: 'role.default',
  failure: 'cannot detect the role of the instance; retrying',
};

function instanceProfileArn(text: string): string | undefined {
  try {
    const info: unknown = JSON.parse(text);
    if (typeof info !== 'object' || info === null || !('InstanceProfileArn' in info)) return undefined;
    return typeof info.InstanceProfileArn === 'string' ? info.InstanceProfileArn : undefined;
  } catch {
    return undefined;
  }
}
