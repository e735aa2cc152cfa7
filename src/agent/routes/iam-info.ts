import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

import { awsTimestamp } from '#domain/credentials.ts';
import { succeeded } from '#domain/failure.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#telemetry/logger.ts';

import { type Answer, errorAnswer, jsonAnswer, type RouteHandler } from '../answer.ts';
import { fromSource } from '../from-source.ts';
import { emptyRoleAnswer, roleFailureAnswer } from '../failure-response.ts';
import type { Patience } from '../patience.ts';
import type { CredentialSource } from '../ports.ts';

export interface IamInfoRouteOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly patienceOf: (request: IncomingMessage) => Patience;
}

/** What EC2 says about the instance's profile, said about the pod's role; never a word about the node's. */
export function createIamInfoRoute({ source, clock, logger, patienceOf }: IamInfoRouteOptions): RouteHandler {
  return async ({ client, request, response }) => {
    const known = source.knownRole(client);
    const outcome =
      known === undefined
        ? await fromSource({ clock, logger, waitMs: patienceOf(request).answerMs, response }, (signal) =>
            source.podRole(client, signal),
          )
        : succeeded(known);
    if (!outcome.ok) return roleFailureAnswer(outcome.failure);
    const { role, roleArn } = outcome.value;
    if (role === '') return emptyRoleAnswer();
    const profileArn = profileArnOf(roleArn === '' ? role : roleArn);
    if (profileArn === undefined) return errorAnswer(404, "the role's ARN is not known", true);
    return infoAnswer(profileArn, clock.now());
  };
}

function profileArnOf(roleArn: string): string | undefined {
  const parts = /^(arn:[^:]*:iam::[^:]*:)role\/(.+)$/s.exec(roleArn);
  return parts === null ? undefined : `${parts[1]}instance-profile/${parts[2]}`;
}

function infoAnswer(profileArn: string, nowMs: number): Answer {
  return jsonAnswer({
    Code: 'Success',
    LastUpdated: awsTimestamp(nowMs),
    InstanceProfileArn: profileArn,
    InstanceProfileId: profileIdOf(profileArn),
  });
}

/**
 * There is no instance profile, so there is no id either. Programs that compare ids get one that is always the same for the
 * role, with the prefix of instance profiles: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
 */
function profileIdOf(profileArn: string): string {
  return `AIPA${createHash('sha256').update(profileArn).digest('hex').slice(0, 17).toUpperCase()}`;
}
