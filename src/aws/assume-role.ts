import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';
import { externalIdProblem, isSessionOf, roleArnProblem, sessionNameProblem } from '#domain/iam-grammar.ts';
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

export interface RoleRequest {
  readonly roleArn: string;
  /** As STS gets it. */
  readonly sessionName: string;
  /** `''` when there is none. */
  readonly externalId: string;
  /** What the session may do at most (a session policy, as JSON); without it all that the role may. */
  readonly policy?: string;
}

/**
 * Assumes a role, for as long as STS allows up to the wanted length: a refused length is remembered for the role, said once and
 * shortened. A request that STS would refuse is not sent, and credentials of another role or session are dropped. Never rejects.
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
    const told = withoutExternalId(outcome, request.externalId);
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

/** What STS would refuse; checked for a pod's values before it gets here, so that this is the last of two barriers. */
function problemOf({ roleArn, sessionName, externalId, policy = '' }: RoleRequest): string | undefined {
  const isWhole = policy.isWellFormed() ? undefined : 'the session policy is no text';
  return roleArnProblem(roleArn) ?? sessionNameProblem(sessionName) ?? externalIdProblem(externalId) ?? isWhole;
}

async function assumeRoleOnce(
  { client, clock }: AssumeRoleOptions,
  { roleArn, sessionName, externalId, policy }: RoleRequest,
  seconds: number,
  signal: AbortSignal,
): Promise<StsOutcome> {
  const issuedAtMs = clock.now();
  const command = new AssumeRoleCommand({
    RoleArn: roleArn,
    RoleSessionName: sessionName,
    DurationSeconds: seconds,
    ...(externalId === '' ? {} : { ExternalId: externalId }),
    ...(policy === undefined ? {} : { Policy: policy }),
  });
  try {
    const {
      AssumedRoleUser,
      Credentials: given,
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
    };
  } catch (error) {
    const facts = readStsError(error);
    // Where STS answered, whatever it was, the exception comes from reading that.
    return isOwnException(error) && facts.status === undefined ? defect(error) : stsFailure(facts);
  }
}
