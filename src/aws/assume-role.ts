import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import type { Attribution } from '#domain/attribution.ts';
import {
  externalIdProblem,
  isSessionOf,
  roleArnProblem,
  sessionNameProblem,
  sessionTagsProblem,
  sourceIdentityProblem,
} from '#domain/iam-grammar.ts';
import { type Identity, sessionNameOf } from '#domain/identity.ts';
import { withAdvice } from './advice.ts';
import { isOwnException, type RenewableClient } from './renewable-client.ts';
import type { SessionDurations } from './session-durations.ts';
import { isSessionTooLong } from './session-durations.ts';
import type { StsOutcome } from './sts.ts';
import {
  defect,
  invalidRequest,
  readStsError,
  stsFailure,
  unavailable,
  withoutExternalId,
  wrongIdentity,
} from './sts-failure.ts';

export interface AssumeRoleOptions {
  readonly client: Pick<RenewableClient, 'use'>;
  readonly durations: SessionDurations;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RoleRequest extends Omit<Attribution, 'sessionName'> {
  readonly roleArn: string;
  /** As STS gets it. */
  readonly sessionName: string;
  /** `''` when there is none. */
  readonly externalId: string;
  /** What the session may do at most (a session policy, as JSON); without it all that the role may. */
  readonly policy?: string;
}

/** The request to STS for an identity. */
export function requestOf(identity: Identity): RoleRequest {
  const { roleArn, externalId, attribution } = identity;
  return { ...attribution, roleArn, externalId, sessionName: sessionNameOf(identity) };
}

/**
 * Assumes a role, for as long as STS allows up to the wanted length: a refused length is remembered for the role, logged once
 * and shortened. A request that STS would refuse is not sent, and credentials of another role or session are dropped. Never
 * rejects.
 */
export async function assumeRole(
  options: AssumeRoleOptions,
  request: RoleRequest,
  signal: AbortSignal,
): Promise<StsOutcome> {
  const { durations, logger } = options;
  const problem = problemOf(request);
  if (problem !== undefined) return invalidRequest(problem);
  let seconds: number | undefined = durations.secondsFor(request.roleArn);
  for (;;) {
    const outcome = await assumeRoleOnce(options, request, seconds, signal);
    if (outcome.ok) return outcome;
    const told = withAdvice(withoutExternalId(outcome, request.externalId), request);
    if (!isSessionTooLong(outcome)) return told;
    const isNews = durations.secondsFor(request.roleArn) >= seconds;
    const shorter: number | undefined = durations.shorten(request.roleArn, seconds);
    if (shorter === undefined) return told;
    if (isNews) {
      logger.warn('session is longer than AWS allows for the role: a shorter one is used', {
        'pod.iam.roleArn': request.roleArn,
        'session.refused.seconds': seconds,
        'session.seconds': shorter,
        error: told.detail,
      });
    }
    seconds = shorter;
  }
}

/** What STS would refuse. A pod's values were checked before, so this is the second of two checks. */
function problemOf(request: RoleRequest): string | undefined {
  const { roleArn, sessionName, externalId, sourceIdentity, tags, policy = '' } = request;
  return (
    roleArnProblem(roleArn) ??
    sessionNameProblem(sessionName) ??
    externalIdProblem(externalId) ??
    sourceIdentityProblem(sourceIdentity) ??
    sessionTagsProblem(tags) ??
    (policy.isWellFormed() ? undefined : 'the session policy is no text')
  );
}

async function assumeRoleOnce(
  { client, clock }: AssumeRoleOptions,
  { roleArn, sessionName, externalId, sourceIdentity, tags, areTagsTransitive, policy }: RoleRequest,
  seconds: number,
  signal: AbortSignal,
): Promise<StsOutcome> {
  const issuedAtMs = clock.now();
  const command = new AssumeRoleCommand({
    RoleArn: roleArn,
    RoleSessionName: sessionName,
    DurationSeconds: seconds,
    ...(externalId === '' ? {} : { ExternalId: externalId }),
    ...(sourceIdentity === '' ? {} : { SourceIdentity: sourceIdentity }),
    ...(tags.length === 0 ? {} : { Tags: tags.map(([Key, Value]) => ({ Key, Value })) }),
    ...(areTagsTransitive && tags.length > 0 ? { TransitiveTagKeys: tags.map(([key]) => key) } : {}),
    ...(policy === undefined ? {} : { Policy: policy }),
  });
  try {
    const {
      AssumedRoleUser,
      Credentials: given,
      PackedPolicySize: packedPolicyPercent = 0,
      SourceIdentity: givenSource = sourceIdentity,
      clockOffsetMs,
    } = await client.use(async (sts) => ({
      ...(await sts.send(command, { abortSignal: signal })),
      // The SDK learns it from the Date header of STS's answers, to sign with the right time.
      clockOffsetMs: sts.config.systemClockOffset,
    }));
    if (!given?.AccessKeyId || !given.SecretAccessKey || !given.SessionToken || given.Expiration === undefined) {
      return unavailable('AWS STS answered without credentials');
    }
    const sessionArn = AssumedRoleUser?.Arn ?? '';
    if (!isSessionOf(sessionArn, roleArn, sessionName)) return wrongIdentity(sessionArn);
    // Where none was asked for, STS passes on the server's own.
    if (sourceIdentity !== '' && givenSource !== sourceIdentity)
      return wrongIdentity(`${sessionArn} as ${givenSource}`);
    return {
      ok: true,
      value: {
        accessKeyId: given.AccessKeyId,
        secretAccessKey: given.SecretAccessKey,
        sessionToken: given.SessionToken,
        expiresAtMs: given.Expiration.getTime(),
        issuedAtMs,
      },
      grantedMs: seconds * 1000,
      clockOffsetMs,
      packedPolicyPercent,
    };
  } catch (error) {
    const facts = readStsError(error);
    // Where STS answered, the exception comes from reading its answer.
    return isOwnException(error) && facts.status === undefined ? defect(error) : stsFailure(facts);
  }
}
