import { NO_ATTRIBUTION } from '#domain/attribution.ts';
import { StsCredentialCache } from '#aws/credential-cache.ts';
import { createStsGateway } from '#aws/sts-gateway.ts';
import { assumeRoleAnswer, errorAnswer, type XmlAnswer } from '#sandbox/sts/answers.ts';
import { checkAssumeRole } from '#sandbox/sts/assume-role.ts';
import { refusalOf } from '#sandbox/sts/behaviour.ts';
import { Identities } from '#sandbox/sts/identities.ts';

import { repeatableRandom } from '../unit/aws/scripted-sts.ts';
import { eventually } from './eventually.ts';
import { ManualClock } from './manual-clock.ts';
import { recordingLogger } from './recording-logger.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const NEVER = new AbortController().signal;

export interface Combination {
  /** `--session-duration`, in hours. */
  readonly askedHours: number;
  /** The longest session that AWS grants, in hours: refused beyond, as by a role's maximum and by chaining. */
  readonly grantedHours: number;
  /** `--session-refresh`, in minutes. */
  readonly refreshMinutes: number;
}

/** What AWS grants against what is asked for, and `--session-refresh` at half of what is asked for and less. */
export const COMBINATIONS: readonly Combination[] = [
  [1, 1],
  [2, 1],
  [2, 2],
  [12, 1],
].flatMap(([askedHours = 1, grantedHours = 1]) =>
  [askedHours * 30, 20, 5].map((refreshMinutes) => ({ askedHours, grantedHours, refreshMinutes })),
);

export interface RenewalFigures {
  /** Calls of AssumeRole that were granted, for each identity and hour. */
  readonly perIdentityHour: number;
  /** Calls that were refused, altogether: each role's length is found out once. */
  readonly refused: number;
  /** The longest that an identity was without a set that may be served, in seconds. */
  readonly longestGapSeconds: number;
}

/** The server's cache and its client of STS over `hours` of injected time, with `identities` that have a pod all the time. */
export async function measureRenewals(
  { askedHours, grantedHours, refreshMinutes }: Combination,
  { hours = 24, identities: count = 10 } = {},
): Promise<RenewalFigures> {
  const clock = new ManualClock(Date.now());
  const identities = new Identities(clock);
  const caller = identities.user('arn:aws:iam::123456789012:user/kiam');
  process.env['AWS_ACCESS_KEY_ID'] = caller.credentials.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = caller.credentials.secretAccessKey;
  let granted = 0;
  let refused = 0;
  const answerTo = (body: string): XmlAnswer => {
    const check = checkAssumeRole(new URLSearchParams(body), caller.identity);
    if (!check.ok) throw new Error(check.error.message);
    const { input } = check;
    const refusal = refusalOf({ maxSessionDurationSeconds: grantedHours * 3600 }, input, caller.identity);
    if (refusal !== undefined) {
      refused += 1;
      return errorAnswer(refusal);
    }
    granted += 1;
    const issued = identities.session({ ...input, lifetimeMs: input.durationSeconds * 1000 });
    return assumeRoleAnswer(issued.identity, issued.credentials);
  };
  const { logger } = recordingLogger();
  const sts = createStsGateway({
    region: 'eu-west-1',
    sessionDurationSeconds: askedHours * 3600,
    assumeRoleArn: '',
    clock,
    logger,
    requestHandler: {
      handle: (request: { readonly body?: unknown }) => {
        const { status, body } = answerTo(String(request.body));
        return Promise.resolve({ response: { statusCode: status, headers: {}, body: Buffer.from(body) } });
      },
      destroy: () => {},
    },
  });
  const cache = new StsCredentialCache({
    sts,
    clock,
    logger,
    sessionMs: askedHours * HOUR_MS,
    sessionRefreshMs: refreshMinutes * MINUTE_MS,
    defaultSessionName: 'kiam',
    random: repeatableRandom(),
  });
  const wanted = Array.from({ length: count }, (_, index) => ({
    roleArn: `arn:aws:iam::123456789012:role/role-${index}`,
    sessionName: 'kiam',
    externalId: '',
    attribution: NO_ATTRIBUTION,
  }));
  let longestGapSeconds = 0;
  const since = new Map(wanted.map((identity) => [identity, clock.monotonic()]));
  try {
    for (const identity of wanted) void cache.get(identity, 'prefetch', NEVER);
    // The SDK first reads files, in time that this clock does not know.
    await eventually('the first set is there', 10_000, () =>
      wanted.some((identity) => cache.peek(identity) !== undefined),
    );
    const endMs = clock.monotonic() + hours * HOUR_MS;
    while (clock.monotonic() < endMs) {
      await clock.advance(5000);
      for (const identity of wanted) {
        if (cache.peek(identity) !== undefined) since.set(identity, clock.monotonic());
        const gapMs = clock.monotonic() - (since.get(identity) ?? 0);
        longestGapSeconds = Math.max(longestGapSeconds, gapMs / 1000);
      }
    }
  } finally {
    cache.close();
    sts.close();
  }
  return { perIdentityHour: granted / count / hours, refused, longestGapSeconds };
}
