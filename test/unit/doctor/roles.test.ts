import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';

import { createOwnCredentials } from '#aws/own-credentials.ts';
import { checkRoles } from '#doctor/cluster/roles.ts';
import { plainSessions, type SessionRules } from '#domain/attribution.ts';
import { identityOf } from '#domain/identity.ts';
import { systemClock } from '#runtime/clock.ts';
import { type Sts, startSts } from '#sandbox/sts/sts.ts';

import { podRecord } from '../../support/pods.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

// Timers of the program never keep a process alive; the tests' waiting does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const ROLE = 'arn:aws:iam::123456789012:role/reader';
const RULES: SessionRules = { ...plainSessions('kiam'), tags: 'pod' };

describe('the doctor, of roles with session tags,', () => {
  let sts: Sts;
  const environment = { ...process.env };

  before(async () => {
    sts = await startSts({ clock: systemClock });
  });
  after(async () => {
    process.env = environment;
    await sts.close();
  });
  beforeEach(() => {
    sts.calls.clear();
    use(sts.user('arn:aws:iam::123456789012:user/kiam').credentials);
  });

  function use(keys: { accessKeyId: string; secretAccessKey: string; sessionToken: string }): void {
    process.env['AWS_ACCESS_KEY_ID'] = keys.accessKeyId;
    process.env['AWS_SECRET_ACCESS_KEY'] = keys.secretAccessKey;
    delete process.env['AWS_SESSION_TOKEN'];
    if (keys.sessionToken !== '') process.env['AWS_SESSION_TOKEN'] = keys.sessionToken;
  }

  async function check(...pods: readonly Parameters<typeof podRecord>[0][]): Promise<readonly string[]> {
    const options = { region: '', sessionDurationSeconds: 900, assumeRoleArn: '', endpoint: sts.url };
    const logger = recordingLogger().logger;
    const own = createOwnCredentials({ ...options, clock: systemClock, logger });
    const identities = pods.map((pod) => identityOf(podRecord(pod), ROLE, RULES));
    const signal = AbortSignal.timeout(10_000);
    const observations = await checkRoles({ own, identities, clock: systemClock, logger, signal });
    own.close();
    return observations.map(({ verdict, says }) => `${verdict}: ${says}`);
  }

  it('tries one session of pods that only their names and UIDs tell apart, and says how much space tags take', async () => {
    const lines = await check({ uid: 'a' }, { uid: 'b' }, { uid: 'c', namespace: 'other' });
    assert.deepEqual(
      sts.calls.list().map(({ tags }) => tags.find(([key]) => key === 'kubernetes-namespace')?.[1]),
      ['default', 'other'],
    );
    assert.deepEqual(lines.slice(0, 2), [`ok: STS lets us assume ${ROLE}`, `ok: STS lets us assume ${ROLE}`]);
    assert.match(lines[2] ?? '', /^ok: session tags take at most \d+ % of what STS allows, .*: arn:aws:iam::/);
  });

  it('warns of tags that nearly fill the space that STS has, and names those that exceed it', async () => {
    const tags = (count: number) =>
      Array.from({ length: count }, (_, index) => [`key-${index}`, 'v'.repeat(250)] as const);
    assert.match((await check({ sessionTags: tags(14) }))[1] ?? '', /^cannot tell: session tags take at most \d\d %/);
    assert.match(
      (await check({ sessionTags: tags(20) }))[0] ?? '',
      /^wrong: STS does not let us assume .*PackedPolicyTooLarge.*fewer or shorter session tags/,
    );
  });

  it('says that the server’s own session passes a tag on, where that is why STS refuses', async () => {
    const transitiveTags = [['kubernetes-namespace', 'kube-system']] as const;
    const session = { roleArn: ROLE, sessionName: 'eks', lifetimeMs: 3_600_000, transitiveTags };
    use(sts.session(session).credentials);
    assert.match(
      (await check({}))[0] ?? '',
      /^wrong: .*the server's own session has this tag and passes it on.*Pod Identity association/,
    );
  });
});
