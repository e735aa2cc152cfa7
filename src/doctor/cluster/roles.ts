import { assumeRole, requestOf } from '#aws/assume-role.ts';
import type { ServerCredentials } from '#aws/server-credentials.ts';
import { createSessionDurations } from '#aws/session-durations.ts';
import type { StsFailure } from '#aws/sts.ts';
import type { Identity } from '#domain/identity.ts';
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
  const different = apartFromPods(identities);
  const tried = different.slice(0, MOST_IDENTITIES);
  let fullest = { percent: 0, roleArn: '' };
  const observations = await Promise.all(
    tried.map((identity) =>
      slots.run(async () => {
        const request = { ...requestOf(identity), policy: DENY_ALL };
        const outcome = await assumeRole({ client: own.client, durations, clock, logger }, request, signal);
        if (!outcome.ok) return judge(identity, outcome);
        const { packedPolicyPercent: percent } = outcome;
        if (percent > fullest.percent) fullest = { percent, roleArn: identity.roleArn };
        return ok(`STS lets us assume ${identity.roleArn}`);
      }),
    ),
  );
  const left = different.length - tried.length;
  if (left > 0) {
    const fix = 'the Events KiamCredentialError name those that fail';
    observations.push(cannotTell(`${left} more sessions were not tried`, fix));
  }
  return [...observations, ...judgePackedSize(fullest)];
}

/** One of those that only the pods' own names and UIDs tell apart: to policies, but for such names, they are the same. */
function apartFromPods(identities: readonly Identity[]): readonly Identity[] {
  const groups = Map.groupBy(identities, ({ roleArn, sessionName, externalId, attribution }) =>
    JSON.stringify([
      roleArn,
      sessionName,
      externalId,
      attribution.tags.filter(([key]) => !key.startsWith('kubernetes-pod-')),
    ]),
  );
  return [...groups.values()].flatMap((alike) =>
    alike.toSorted((one, other) => lengthOf(other) - lengthOf(one)).slice(0, 1),
  );
}

function lengthOf({ attribution }: Identity): number {
  return JSON.stringify(attribution).length;
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: calls above 100 % fail. */
const MUCH_PACKED_PERCENT = 80;

/** STS packs session tags and policies together; the doctor's own denial is among them. */
function judgePackedSize({ percent, roleArn }: { readonly percent: number; readonly roleArn: string }): Observation[] {
  if (percent === 0) return [];
  const says = `session tags take at most ${percent} % of what STS allows, with the denial that the doctor adds: ${roleArn}`;
  if (percent < MUCH_PACKED_PERCENT) return [ok(says)];
  return [cannotTell(says, 'above 100 % STS refuses calls: set fewer or shorter session tags')];
}

function judge({ roleArn, externalId }: Identity, { category, detail }: StsFailure): Observation {
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
