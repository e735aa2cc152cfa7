import { assumeRole } from '#aws/assume-role.ts';
import type { ServerCredentials } from '#aws/server-credentials.ts';
import { createSessionDurations } from '#aws/session-durations.ts';
import type { StsFailure } from '#aws/sts.ts';
import type { Identity } from '#domain/identity.ts';
import { stsSessionName } from '#domain/session-name.ts';
import type { Clock } from '#runtime/clock.ts';
import { createSlots } from '#runtime/slots.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Observation, cannotTell, ok, wrong } from '../finding.ts';

export interface RolesOptions {
  readonly own: ServerCredentials;
  /** The identities of the pods that policy allows, each once. */
  readonly identities: readonly Identity[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The least that STS issues (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html). */
const SHORTEST_SECONDS = 900;

/** The session may do nothing, whatever its role may: an explicit denial goes before all. */
const DENY_ALL = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Action: '*', Resource: '*' }],
});

/** STS limits an account's calls, which the servers need for pods. */
const AT_A_TIME = 2;
const MOST_IDENTITIES = 200;

/**
 * Assumes each role in use, for the shortest time and without any permission: nothing else shows whether that works. Never
 * rejects.
 */
export async function checkRoles({ own, identities, clock, logger, signal }: RolesOptions): Promise<Observation[]> {
  if (identities.length === 0) return [ok('no pod is permitted a role at present')];
  const missing = await own.ready(signal);
  if (missing !== undefined)
    return [cannotTell(`the server has no credentials: ${missing.detail}`, 'see the line `identity`')];
  const durations = createSessionDurations(SHORTEST_SECONDS);
  const slots = createSlots(AT_A_TIME);
  const tried = identities.slice(0, MOST_IDENTITIES);
  const observations = await Promise.all(
    tried.map(({ roleArn, sessionName, externalId }) =>
      slots.run(async () => {
        const request = { roleArn, sessionName: stsSessionName(sessionName), externalId, policy: DENY_ALL };
        const outcome = await assumeRole({ client: own.client, durations, clock, logger }, request, signal);
        return outcome.ok ? ok(`STS lets us assume ${roleArn}`) : judge(roleArn, externalId, outcome);
      }),
    ),
  );
  const left = identities.length - tried.length;
  return left === 0
    ? observations
    : [
        ...observations,
        cannotTell(`${left} more roles were not tried`, 'the Events KiamCredentialError name those that fail'),
      ];
}

function judge(roleArn: string, externalId: string, { category, detail }: StsFailure): Observation {
  const says = `STS does not let us assume ${roleArn}: ${detail}`;
  if (category === 'denied') {
    const id = externalId === '' ? '' : ', with the external id that the pod annotates';
    return wrong(
      says,
      `does the role exist, does its trust policy name us${id}, and may we sts:AssumeRole it? (docs/iam.md)`,
    );
  }
  if (category === 'bad-request') return wrong(says, 'fix the annotations of its pods: STS does not accept them');
  return cannotTell(says, category === 'throttled' ? 'try again later' : 'see the line `identity`');
}
