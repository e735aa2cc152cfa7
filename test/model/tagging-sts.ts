import { createStsGateway } from '#aws/sts-gateway.ts';
import type { StsOutcome } from '#aws/sts.ts';
import type { Identity } from '#domain/identity.ts';
import { assumeRoleAnswer, errorAnswer } from '#sandbox/sts/answers.ts';
import { checkAssumeRole } from '#sandbox/sts/assume-role.ts';
import { Identities, type SessionTags } from '#sandbox/sts/identities.ts';

import type { ManualClock } from '../support/manual-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

/** The sandbox's STS behind the gateway and the AWS SDK's client of a server, without connections. */
export interface TaggingSts {
  assumeRole(identity: Identity, signal: AbortSignal): Promise<StsOutcome>;
  /** What the call that issued the key carried; undefined for a key that was never issued. */
  tagsOf(accessKeyId: string): SessionTags | undefined;
  readonly calls: number;
  close(): void;
}

export function startTaggingSts(clock: ManualClock): TaggingSts {
  const identities = new Identities(clock);
  const caller = identities.user('arn:aws:iam::123456789012:user/kiam');
  process.env['AWS_ACCESS_KEY_ID'] = caller.credentials.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = caller.credentials.secretAccessKey;
  let calls = 0;
  const answer = (body: string) => {
    calls += 1;
    const check = checkAssumeRole(new URLSearchParams(body), caller.identity);
    if (!check.ok) return errorAnswer(check.error);
    const { transitiveKeys, durationSeconds, ...session } = check.input;
    const { identity, credentials } = identities.session({ ...session, lifetimeMs: durationSeconds * 1000 });
    return transitiveKeys.length > 0
      ? errorAnswer({ status: 400, code: 'ValidationError', message: 'nobody asked for transitive tags' })
      : assumeRoleAnswer(identity, credentials);
  };
  const gateway = createStsGateway({
    region: 'eu-west-1',
    sessionDurationSeconds: 900,
    assumeRoleArn: '',
    clock,
    logger: recordingLogger().logger,
    requestHandler: {
      handle: (request: { readonly body?: unknown }) => {
        const { status, body } = answer(String(request.body));
        return Promise.resolve({ response: { statusCode: status, headers: {}, body: Buffer.from(body) } });
      },
      destroy: () => {},
    },
  });
  return {
    assumeRole: (identity, signal) => gateway.assumeRole(identity, signal),
    tagsOf: (accessKeyId) => identities.find(accessKeyId)?.identity.tags,
    get calls() {
      return calls;
    },
    close: () => gateway.close(),
  };
}
